#!/usr/bin/env bash
# Tests everything in deploy/: alert rules by promtool, the dashboard against Grafana's types, manifests against Kubernetes' types, scripts,
# and that every series and every command line in it exists. One line for each: PASS, FAIL or SKIP; ends with 1 if one failed.
# What it needs and does not find it fetches into CACHE (test/compat/.cache/deploy): promtool from Debian's prometheus
# package, which is unpacked and not installed; the Go modules and npm packages of the checks.
set -uo pipefail
deploy=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CACHE:-$deploy/../test/compat/.cache}/deploy
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
failed=0

check() { # NAME command...
  local name=$1 out code=0
  shift
  out=$("$@" 2>&1 </dev/null) || code=$?
  case $code in
    0) echo "PASS $name" ;;
    77) echo "SKIP $name: $(tail -n 1 <<<"$out")" ;;
    *)
      echo "FAIL $name"
      tail -n 40 <<<"$out" | sed 's/^/     /'
      failed=1
      ;;
  esac
}

fetch_promtool() {
  command -v promtool && return
  if [ ! -x "$cache/promtool" ]; then
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || { echo "neither promtool nor apt-get is here" >&2; return 1; }
    local dir
    dir=$(mktemp -d)
    # A package list that is missing or old is fetched; that wants root.
    (cd "$dir" && { apt-get download prometheus || { apt-get update && apt-get download prometheus; }; } && dpkg-deb -x prometheus_*.deb . && cp usr/bin/promtool "$cache/promtool") >"$cache/promtool.log" 2>&1
    local code=$?
    rm -rf "$dir"
    [ $code = 0 ] || { tail -n 5 "$cache/promtool.log" >&2; return 1; }
  fi
  echo "$cache/promtool"
}

grafana() {
  command -v npm >/dev/null || { echo "npm is not here"; return 77; }
  timeout 300 bash "$deploy/grafana/check.sh" "$cache/grafana"
}

kubernetes() { (cd "$deploy/test" && CGO_ENABLED=0 timeout 600 go test -timeout 120s ./...); }
names() { (cd "$deploy" && CGO_ENABLED=0 timeout 600 go test -timeout 120s .); }

syntax() { # FILE: bash reads it; it stops at errors; nothing in it comes from outside unquoted
  bash -n "$1" || return 1
  grep -qE '^set -euo pipefail|^set -uo pipefail' "$1" || { echo "no set -euo pipefail"; return 1; }
  [ -x "$1" ] || [ "$1" = "$deploy/grafana/check.sh" ] || { echo "not executable"; return 1; }
  ! grep -nP '(?<!")\$[0-9@*](?!")\s' "$1" | grep -vE 'case|local|\(\(|=\$[0-9]|^\d+:\s*#' || { echo "an argument is not quoted"; return 1; }
}

# The gate passes on what the test, the counter and the verdict say. The ottla here is none: it gives the ids in $dir/ids, one scan a line.
gate() {
  local dir
  dir=$(mktemp -d)
  cat >"$dir/ottla" <<EOF
#!/usr/bin/env bash
echo "\$*" >>"$dir/calls"
case "\$*" in
  *"--only counter"*)
    while [ "\$1" != --record ]; do shift; done
    head -n 1 "$dir/ids" >"\$2"
    sed -i 1d "$dir/ids"
    ;;
  *) exit \$VERDICT ;;
esac
EOF
  chmod +x "$dir/ottla"
  try() { # WANT VERDICT FIRST_AFTER command...
    local want=$1 verdict=$2 got=0 first=$3
    shift 3
    printf '{"counter":[{"pid":6},{"pid":7}]}\n{"counter":[{"pid":%s},{"pid":9999}]}\n' "$first" >"$dir/ids"
    VERDICT=$verdict OTTLA=$dir/ottla GATE_OUT="$dir/a b" bash "$deploy/ci-gate/gate.sh" kafka.example.com:9092 "$@" 2>"$dir/err" || got=$?
    [ $got = "$want" ] || { echo "verdict $verdict, ids from $first: $got, not $want"; cat "$dir/err"; return 1; }
  }
  try 0 0 8 true && try 0 0 28 true && try 1 0 29 true && try 1 1 8 true && try 2 2 8 true && try 4 4 8 true && try 64 64 8 true || return 1
  grep -q -- '--bootstrap kafka.example.com:9092 .*--fail-on armed' "$dir/calls" || { cat "$dir/calls"; return 1; }
  rm "$dir/calls"
  try 7 0 8 bash -c 'exit 7' || return 1
  ! grep -q -- '--fail-on armed' "$dir/calls" || { echo "the cluster is judged though the test failed"; return 1; }
  sed -i 's/head -n 1 .*/echo "{}" >"$2"/' "$dir/ottla" # the counter is denied
  try 3 0 8 true || return 1
  rm -rf "$dir"
}

# The same with a real one, against a broker: one producer passes, 300 do not.
gate_live() {
  local dir ottla pid code=0 port=${PORT:-21599}
  dir=$(mktemp -d)
  ottla=$dir/ottla
  (cd "$deploy/.." && CGO_ENABLED=0 timeout 600 go build -o "$ottla" ./cmd/ottla) || return 1
  "$ottla" serve --data "$dir/data" --listen "127.0.0.1:$port" --http off >"$dir/log" 2>&1 &
  pid=$!
  # shellcheck disable=SC2064
  trap "kill $pid 2>/dev/null; wait $pid 2>/dev/null; rm -rf '$dir'; trap - RETURN" RETURN
  for _ in $(seq 100); do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break || sleep 0.1; done
  "$ottla" topic create audit --bootstrap "127.0.0.1:$port" || return 1
  export OTTLA=$ottla GATE_OUT=$dir GATE_INTERVAL=1s
  bash "$deploy/ci-gate/gate.sh" "127.0.0.1:$port" bash -c "seq 1000 | '$ottla' produce audit --bootstrap 127.0.0.1:$port" || { echo "one producer does not pass: $?"; return 1; }
  [ -s "$dir/investigate.html" ] || { echo "no report"; return 1; }
  bash "$deploy/ci-gate/gate.sh" "127.0.0.1:$port" "$ottla" storm --bootstrap "127.0.0.1:$port" --mode fast --max-producers 300 --keep --quiet || code=$?
  [ $code = 1 ] || [ $code = 2 ] || { echo "300 producers pass: $code"; return 1; }
}

# What is granted is exactly what is used, and taken back again.
acls() {
  local dir want
  dir=$(mktemp -d)
  printf '#!/usr/bin/env bash\nprintf "%%s|" "$@" >>"%s/calls"\necho >>"%s/calls"\n' "$dir" "$dir" >"$dir/kafka-acls.sh"
  chmod +x "$dir/kafka-acls.sh"
  PATH=$dir:$PATH bash "$deploy/kubernetes/acls.sh" b:9092 'User:CN=a b' --command-config 'my file' || return 1
  want='--bootstrap-server|b:9092|--command-config|my file|--add|--allow-principal|User:CN=a b|'
  [ "$(grep -c -F -- "$want" "$dir/calls")" = 5 ] || { cat "$dir/calls"; return 1; }
  [ "$(tr '|' '\n' <"$dir/calls" | grep -A1 -- --operation | grep -v -- -- | sort | uniq -c | awk '{printf "%s%s ", $2, $1}')" = 'Describe3 DescribeConfigs2 IdempotentWrite1 Read1 ' ] || { cat "$dir/calls"; return 1; }
  ! grep -qE 'Write\|.*--topic|Alter|Create|Delete|\|All\|' "$dir/calls" || { echo "too much is granted"; return 1; }
  cp "$dir/calls" "$dir/granted"
  rm "$dir/calls"
  PATH=$dir:$PATH bash "$deploy/kubernetes/acls.sh" --remove b:9092 'User:CN=a b' --command-config 'my file' || return 1
  sed 's/|--remove|--force|/|--add|/' "$dir/calls" | cmp - "$dir/granted" || return 1
  rm "$dir/calls"
  TOPICS='pay.*' MINIMAL=1 PATH=$dir:$PATH bash "$deploy/kubernetes/acls.sh" b:9092 User:x || return 1
  grep -q -- '--topic|pay.|--resource-pattern-type|prefixed|' "$dir/calls" && ! grep -q IdempotentWrite "$dir/calls" || { cat "$dir/calls"; return 1; }
  rm -rf "$dir"
}

if promtool=$(fetch_promtool); then
  for file in "$deploy"/prometheus/*.rules.yml; do check "promtool check rules $(basename "$file")" "$promtool" check rules "$file"; done
  for file in "$deploy"/prometheus/tests/*.test.yml; do check "promtool test rules $(basename "$file")" timeout 300 "$promtool" test rules "$file"; done
else
  check "promtool" false
fi
check "series, alerts, runbooks and command lines exist" names
check "dashboard against Grafana's types" grafana
check "manifests against Kubernetes' types" kubernetes
for file in "$deploy"/*.sh "$deploy"/*/*.sh; do check "syntax of ${file#"$deploy"/}" syntax "$file"; done
check "the gate passes on verdicts" gate
check "the gate against a broker" gate_live
check "access rules: what is used, no more" acls
exit $failed
