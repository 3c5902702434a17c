#!/usr/bin/env bash
# Other people's clients and tools against a broker, as a black box:
#   run.sh PATH/TO/ottla          starts that binary on a free loopback port, in a temporary data directory; then the short form
#                                 of test/investigate, without further arguments
#   run.sh --all PATH/TO/ottla    also the clients that are slow to install, the systems of ecosystem/, the test suites of
#                                 suites/ and all of test/investigate, and writes docs/compatibility.md
#   run.sh --reference            the clients and tools against Apache Kafka itself, from the same jars
#   BOOTSTRAP=host:port run.sh    against a broker that runs already (DATA_DIR=... for kafka-dump-log);
#                                 what needs to kill the broker is skipped
# Further arguments (-run REGEXP, -parts REGEXP, -clients REGEXP, -keep) go to the suite: see main.go. The Kafka jars come from
# Maven Central into test/compat/.cache, the clients of clients/ into test/compat/.cache/clients; a JDK, Maven and kcat are
# installed with apt-get where they are missing. Results go to $RESULTS (default test/compat/.cache/results.jsonl, begun
# anew), the report card to test/compat/.cache/compatibility.md, with --all to docs/compatibility.md.
# Ends with "N passed, N failed" and, after a failure, with code 1.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cache=$here/.cache

bash "$here/jars.sh"
command -v kcat >/dev/null || { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends kcat librdkafka1; } >&2
if [ ! -e "$cache/classes/stamp" ] || [ -n "$(find "$here/java" -name '*.java' -newer "$cache/classes/stamp")" ]; then
  rm -rf "$cache/classes" && mkdir -p "$cache/classes"
  javac -Xlint:all,-processing,-classfile,-path -Werror -d "$cache/classes" -cp "$cache/libs/*" "$here"/java/*.java
  touch "$cache/classes/stamp"
fi

all=
if [ "${1:-}" = --all ]; then
  all=yes
  shift
fi
if [ -z "${RESULTS:-}" ]; then
  RESULTS=$cache/results.jsonl
  rm -f "$RESULTS"
fi
export RESULTS
args=(-cache "$cache" -results "$RESULTS" -drivers "$here/clients")
binary=
if [ -n "${BOOTSTRAP:-}" ]; then
  args+=(-bootstrap "$BOOTSTRAP" -data "${DATA_DIR:-}")
elif [ "${1:-}" = --reference ]; then
  shift
  args+=(-reference)
else
  binary=$(realpath "${1:?usage: run.sh [--all] PATH/TO/ottla | --reference}")
  shift
  args+=(-ottla "$binary")
fi
[ -z "$all" ] || args+=(-slow)
cd "$root"
go build -o "$cache/suite" ./test/compat
go build -o "$cache/report" ./test/compat/report
card=$cache/compatibility.md broker=

# The last lines, whatever was run, are the report card's.
finish() { "$cache/report" -results "$RESULTS" -out "$card" -broker "$broker" -strict; }

if [ -z "$all" ]; then
  code=0
  "$cache/suite" "${args[@]}" "$@" || code=$?
  [ -z "$binary" ] || [ $# != 0 ] || bash "$root/test/investigate/run.sh" --quick "$binary" || code=1
  "$cache/report" -results "$RESULTS" -out "$card" >&2 || true
  exit $code
fi

[ -n "$binary" ] || { echo "--all wants a binary" >&2; exit 1; }
broker="ottla $("$binary" version | head -1 | sed 's/^ottla *//')"
card=$root/docs/compatibility.md
export CACHE=$cache
"$cache/suite" "${args[@]}" "$@" || true
say() { printf '\n== %s\n' "$*"; }
incomplete() { # CLIENT: a part that could not run is a failure, not an omission
  printf '{"group":"%s","client":"%s","version":"","what":"runs to its end","ok":false,"why":"the script ended early; see its output"}\n' "$1" "$2" >>"$RESULTS"
}
say "test suites of others"
for suite in franz-go librdkafka; do
  before=$(wc -l <"$RESULTS")
  "$here/with-broker.sh" "$binary" num.partitions=4 -- "$here/suites/$suite/run.sh" || true
  [ "$(wc -l <"$RESULTS")" -gt "$before" ] || incomplete suites "$suite"
done
say "ecosystem"
OTTLA=$binary "$here/ecosystem/run.sh" || incomplete ecosystem "all scenarios"
say "storm, investigation and autopsy"
bash "$root/test/investigate/run.sh" "$binary" || true
finish
