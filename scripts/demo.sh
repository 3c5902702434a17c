#!/usr/bin/env bash
# The point of the product in a minute: single-use producers pour in, memory stays where it is, the broker is killed, and a
# retry of an old producer is still recognised. Needs Go and curl. PRODUCERS=n changes how many.
set -euo pipefail
cd "$(dirname "$0")/.."

producers=${PRODUCERS:-1000000}
port=${PORT:-19292}
http=${HTTP_PORT:-19294}
work=$(mktemp -d)
broker=
watcher=
cleanup() {
  if [ -n "$watcher" ]; then kill "$watcher" 2>/dev/null || true; fi
  if [ -n "$broker" ]; then kill "$broker" 2>/dev/null || true; wait "$broker" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap cleanup EXIT

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

# metric NAME: the value of one series.
metric() { curl -sf "http://127.0.0.1:$http/metrics" | awk -v name="$1" '$1 == name { printf "%.0f", $2 }'; }

numbers() {
  printf '   memory %4d MiB (resident)   producers: %8d known on disk, %6d in memory   budget %d MiB\n' \
    "$(($(metric process_resident_memory_bytes) >> 20))" "$(metric 'ottla_producer_entries{place="cold"}')" \
    "$(metric 'ottla_producer_entries{place="hot"}')" "$(($(metric ottla_producer_memory_budget_bytes) >> 20))"
}

start() {
  "$work/ottla" --listen "127.0.0.1:$port" --http "127.0.0.1:$http" --data "$work/data" >"$work/log" 2>&1 &
  broker=$!
  for _ in $(seq 500); do
    if curl -sf "http://127.0.0.1:$http/readyz" >/dev/null; then return; fi
    kill -0 "$broker" 2>/dev/null || { cat "$work/log"; exit 1; }
    sleep 0.02
  done
  echo "the broker did not start"; cat "$work/log"; exit 1
}

storm() { "$work/ottla" storm --quiet --bootstrap "127.0.0.1:$port" "$@"; }

say "1. A broker with default settings"
go build -o "$work/ottla" ./cmd/ottla
start
numbers

say "2. $producers applications push one batch each, every one with a new idempotent producer, every batch fsynced"
(while sleep 3; do numbers; done) &
watcher=$!
storm -n "$producers" --retry-sample 10000 --sample-out "$work/sample" --keep --max-bytes 1000000000000 --max-seconds 3600
kill "$watcher" && wait "$watcher" 2>/dev/null || true
watcher=
numbers

say "3. kill -9, and a new start"
kill -9 "$broker"
wait "$broker" 2>/dev/null || true
begun=$(date +%s%N)
start
echo "   ready after $((($(date +%s%N) - begun) / 1000000)) ms"

say "4. 10000 of those producers, from the first to the last, retry their batch: was it stored?"
storm --retry "$work/sample" --require-exact
printf '   recognised as already stored: %s\n' "$(metric ottla_producer_duplicates_total)"
numbers
