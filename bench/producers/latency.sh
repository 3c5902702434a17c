#!/usr/bin/env bash
# What a well-behaved producer feels of a storm: its p99 alone, and while single-use producers come at several rates.
# Rounds are interleaved. The storm runs at the lowest priority and the steady producer in a process of its own, so that
# what is measured is the broker and not the load generator's own scheduling; the two still share the machine's cores.
#
#   bench/producers/latency.sh [rounds, default 3]
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3}
work=$(mktemp -d)
pid=""
trap 'if [ -n "$pid" ]; then kill -9 "$pid" 2>/dev/null || true; fi; rm -rf "$work"' EXIT
export CGO_ENABLED=0
go build -trimpath -o "$work/ottla" ./cmd/ottla
addr=127.0.0.1:39092
"$work/ottla" --listen "$addr" --http off --data "$work/data" >"$work/log" 2>&1 &
pid=$!
storm=("$work/ottla" storm --quiet --bootstrap "$addr" --topic ottla-storm-bench --reuse-topic --keep)
steady() { "${storm[@]}" -n 0 --probe 5ms --max-seconds 4 | grep '^steady'; }
until (exec 3<>"/dev/tcp/${addr/:/\/}") 2>/dev/null; do kill -0 "$pid"; done
"${storm[@]}" -n 1000 >/dev/null
for round in $(seq "$rounds"); do
  echo "round $round, alone: $(steady)"
  for rate in 1000 3000 10000 20000 30000; do
    nice -n 19 "${storm[@]}" -n $((rate * 5)) --rate "$rate" >"$work/storm" &
    running=$!
    result=$(steady)
    wait "$running"
    echo "round $round, during $rate/s: $result; storm: $(grep -o '[0-9]* pushes/s' "$work/storm")"
  done
done
