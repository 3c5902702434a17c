#!/usr/bin/env bash
# The tests of franz-go's pkg/kgo, as they come in its module, against $BOOTSTRAP, a broker of its own that runs and creates
# topics by itself.
#   RESULTS          file that gets a JSON line for each test; without it the results are only printed
#   CACHE            where the tests are kept, compiled (default test/compat/.cache)
#   RECORDS          how many records the pipelines of consumer groups move (default 50000; upstream 500000)
#   TESTS            only the tests that match this regular expression
# skip.txt says what is left out and why. Ends with code 1 after a failure.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${BOOTSTRAP:?host:port of the broker}"
cache=${CACHE:-$here/../../.cache}
results=${RESULTS:-/dev/null}
mkdir -p "$cache/kgo-tests"
dir=$(cd "$cache/kgo-tests" && pwd)

cd "$here/../../clients/go/franz-go" # its go.mod names the version
go mod download github.com/twmb/franz-go
read -r source version < <(go list -m -f '{{.Dir}} {{.Version}}' github.com/twmb/franz-go)
if [ ! -e "$dir/$version.test" ]; then
  # The source is read only: its module is compiled where it lies.
  (cd "$source/pkg/kgo" && CGO_ENABLED=0 GOFLAGS=-mod=mod go test -c -o "$dir/$version.test" .)
fi

result() { # WHAT OK SKIP WHY
  jq -cn --arg v "$version" --arg what "$1" --argjson ok "$2" --argjson skip "$3" --arg why "$4" \
    '{group: "suites", client: "franz-go pkg/kgo", version: $v, what: $what, ok: $ok, skip: $skip, why: $why}' >>"$results"
}
command -v jq >/dev/null || { apt-get update && apt-get install -y --no-install-recommends jq; } >&2

skip=$(sed -n '/^#/d; s/:.*//p' "$here/skip.txt" | paste -sd '|')
log=$dir/log
cd "$source/pkg/kgo" # some tests read it
KGO_SEEDS=$BOOTSTRAP KGO_TEST_RF=1 KGO_TEST_RECORDS=${RECORDS:-50000} KGO_LOG_LEVEL=none timeout "${SECONDS_MAX:-900}" \
  "$dir/$version.test" -test.v -test.run "${TESTS:-.}" -test.skip "^($skip)\$" -test.timeout "${SECONDS_MAX:-900}s" >"$log" 2>&1 || true

passed=0 failed=0 skipped=0
while IFS=: read -r name why; do
  [ -z "${TESTS:-}" ] || continue
  result "$name" false true "${why# }"
done < <(sed '/^#/d' "$here/skip.txt")
# What a test says follows its name: lines that name a line of a test.
awk '
  / *=== (RUN|CONT|NAME) / { now = $NF; next }
  / *--- (PASS|FAIL|SKIP): / { now = $3; sub(":", "", $2); verdict[$3] = $2; order[n++] = $3; next }
  /^ +[a-z_0-9]+\.go:[0-9]+: / { sub(/^ +/, ""); said[now] = said[now] == "" ? $0 : said[now] "; " $0 }
  END { for (i = 0; i < n; i++) print verdict[order[i]] "\t" order[i] "\t" substr(said[order[i]], 1, 400) }
' "$log" >"$dir/verdicts"
while IFS=$'\t' read -r verdict name why; do
  case $verdict in
  PASS) result "$name" true false ""; passed=$((passed + 1)) ;;
  SKIP) result "$name" false true "$why"; skipped=$((skipped + 1)) ;;
  FAIL) result "$name" false false "${why:-see the log}"; failed=$((failed + 1)); echo "FAIL $name: $why" ;;
  esac
done <"$dir/verdicts"
# A test that began and never ended: the process is gone, or out of time.
while read -r name; do
  result "$name" false false "did not end: $(grep -m 1 -E '^(panic|fatal)' "$log" || echo out of time)"
  failed=$((failed + 1))
  echo "FAIL $name: did not end"
done < <(comm -23 <(sed -n 's/^=== RUN  *//p' "$log" | sort -u) <(sed -n -E 's/^ *--- (PASS|FAIL|SKIP): ([^ ]+).*/\2/p' "$log" | sort -u))
echo "franz-go pkg/kgo $version: $passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ] && [ $passed -gt 0 ]
