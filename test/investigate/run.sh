#!/usr/bin/env bash
# The storm, the investigation and the autopsy against real brokers: Apache Kafka of six versions, and Ottla.
#   run.sh [--quick] PATH/TO/ottla [STEP...]
# Steps: death (Kafka 4.3.1 with a heap of 256 MiB is killed by a storm, and what is left of it is looked at), a version of
# Kafka (a healthy load, a storm beside it, the remedy of that version, its remains), ottla, slow (a leak that began days ago and is
# slow), diseases (what else producers can do to a broker), page (the HTML report in a browser).
# --quick leaves out all versions but the oldest and the newest, and what comes after ottla. The jars come from Maven Central: see kafka.sh. Results go to $RESULTS,
# one JSON object a line, as those of test/compat. LANES (3) chains run side by side; KEEP keeps what they leave.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
source "$here/kafka.sh"
source "$here/lib.sh"
source "$here/death.sh"
source "$here/chain.sh"
source "$here/others.sh"

quick=
[ "${1:-}" != --quick ] || { quick=yes; shift; }
ottla=$(realpath "${1:?usage: run.sh [--quick] PATH/TO/ottla [STEP...]}")
shift
steps=("$@")
if [ $# = 0 ]; then
  steps=(death 4.3.1 2.3.1 ottla)
  [ -n "$quick" ] || steps=(death 4.3.1 2.3.1 2.8.2 3.3.2 3.6.2 3.9.1 ottla slow diseases page)
fi
lanes=${LANES:-3}
all=$(mktemp -d "${TMPDIR:-/tmp}/investigate.XXXXXX")
to=${RESULTS:-/dev/null}
export RESULTS=$all/results.jsonl
: >"$RESULTS"
started=$SECONDS

finish() {
  local code=$? file pids=()
  trap - EXIT
  trap '' TERM INT # what ends this may have asked twice: it and the whole process group
  for file in "$all"/*/step.pid; do
    [ ! -e "$file" ] || pids+=("$(cat "$file")")
  done
  [ ${#pids[@]} = 0 ] || kill -TERM "${pids[@]}" 2>/dev/null || true
  wait || true
  for file in "${pids[@]}"; do kafka_await 90 $$ kafka_gone "$file" || true; done
  cat "$RESULTS" >>"$to"
  if [ -n "${KEEP:-}" ] || { [ -s "$RESULTS" ] && grep -q '"ok": false' "$RESULTS"; }; then
    rm -rf "$all"/*/*.hprof
    echo "kept $all"
  else
    rm -rf "$all"
  fi
  exit "$code"
}
trap finish EXIT
trap 'exit 124' TERM INT

# step NAME runs one step in a process of its own, with a directory of its own; what it has started is ended with it.
step() (
  trap - INT
  work=$all/$1
  mkdir -p "$work"
  echo "$BASHPID" >"$work/step.pid"
  tidy() {
    local name dir
    trap - EXIT
    trap '' TERM INT
    for name in "${!began[@]}"; do
      kill -9 -- "-${began[$name]}" 2>/dev/null || true
      wait "${began[$name]}" 2>/dev/null || true
    done
    for dir in "$work"/*/pid; do
      [ ! -e "$dir" ] || kafka_kill "$(dirname "$dir")"
    done
  }
  trap tidy EXIT
  trap 'exit 124' TERM
  case $1 in
    death) death ;;
    ottla) chain_ottla ;;
    slow) slow ;;
    diseases) diseases ;;
    page) page ;;
    *) chain_kafka "$1" ;;
  esac
  : >"$work/complete"
  rm "$work/step.pid"
)

# whole NAME runs a step and makes a failure of its early end.
whole() {
  local at=$SECONDS
  step "$1" >"$all/$1.out" 2>&1 & # not in a condition: the first command that fails ends it
  wait $! || true
  cat "$all/$1.out"
  if [ ! -e "$all/$1/complete" ]; then
    tail -n 5 "$all/$1.out" >&2
    client="the step $1" version="" check "runs to its end" false
  fi
  log "$1 took $((SECONDS - at)) s"
}

go build -o "$all/healthy" "$root/test/investigate/healthy"
for name in "${steps[@]}"; do
  case $name in
    death | slow | diseases) kafka_fetch 4.3.1 >/dev/null || true ;; # its step fails
    [0-9]*) kafka_fetch "$name" >/dev/null || true ;;
    ottla | page) ;;
    *) echo "there is no step $name" >&2; exit 64 ;;
  esac
done
for name in "${steps[@]}"; do
  # The death wants both cores for itself.
  if [ "$name" = death ] || [ "$name" = page ]; then
    wait
    whole "$name"
    continue
  fi
  while [ "$(jobs -rp | wc -l)" -ge "$lanes" ]; do wait -n || true; done
  whole "$name" &
done
wait
passes=$(grep -c '"ok": true' "$RESULTS" || true) failures=$(grep -c '"ok": false' "$RESULTS" || true)
echo "$passes passed, $failures failed in $((SECONDS - started)) s"
[ "$failures" = 0 ]
