#!/usr/bin/env bash
# What the product is for, measured: memory with a million producers and with many more, the
# retries of a sample of them hot, after a clean stop, after kill -9 and with the smallest
# budget, start times, disk an entry, and a steady producer's latency during the storm.
#
#   bench/producers/run.sh [producers, default 10000000]
#
# Needs about 250 bytes of disk a producer. It asserts nothing but the answers: the numbers
# depend on the machine, docs/benchmarks.md has those of one.
set -euo pipefail
cd "$(dirname "$0")/../.."
total=${1:-10000000}
first=$((total / 10))
work=$(mktemp -d)
pid=""
trap 'if [ -n "$pid" ]; then kill -9 "$pid" 2>/dev/null || true; fi; rm -rf "$work"' EXIT
export CGO_ENABLED=0
go build -trimpath -ldflags '-s -w' -o "$work/ottla" ./cmd/ottla
addr=127.0.0.1:39092
http=127.0.0.1:39464

now_ms() { echo $(($(date +%s%N) / 1000000)); }
start() { # arguments for the broker; prints how long until ready, as the broker says and as seen from outside
  local began
  began=$(now_ms)
  "$work/ottla" --listen "$addr" --http "$http" --data "$work/data" "$@" >"$work/log" 2>&1 &
  pid=$!
  until curl -fsS "http://$http/readyz" >/dev/null 2>&1; do
    kill -0 "$pid" || { cat "$work/log"; exit 1; }
    sleep 0.005
  done
  echo "ready after $(($(now_ms) - began)) ms from outside; $(grep -o 'msg=ready.*took=.*' "$work/log" | grep -o 'took=.*')"
}
stop() { kill -TERM "$pid"; wait "$pid"; pid=""; }
rss_kib() { awk '/^VmRSS/ {print $2}' "/proc/$pid/status"; }
storm() { # on one topic, which stays
  "$work/ottla" storm --quiet --bootstrap "$addr" --topic ottla-storm-bench --reuse-topic --keep --max-bytes 1000000000000 --max-seconds 3600 --broker-pid "$pid" "$@"
}

echo "== empty broker"
start
sleep 4
echo "idle RSS $(rss_kib) KiB"
storm -n 0 --probe 5ms --max-seconds 10

echo "== $first producers"
storm -n "$first" --retry-sample 1000
sleep 5
a=$(rss_kib)
echo "RSS $a KiB"

echo "== $total producers"
storm -n $((total - first)) --retry-sample 10000 --sample-out "$work/sample" --probe 5ms
sleep 5
b=$(rss_kib)
echo "RSS $b KiB, $(awk -v a="$a" -v b="$b" 'BEGIN {printf "%.2f", b/a}') times that of $first"
du -sb "$work/data/producers" | awk -v n="$total" '{printf "%d bytes of disk, %.1f an entry\n", $1, $1/n}'

echo "== two-day-old records, five batches each"
storm -n 10000 --batches-per-producer 5 --ahead -48h --retry-sample 10000 --sample-out "$work/old"

retry() {
  echo "== retries $1"
  for sample in sample old; do "$work/ottla" storm --quiet --bootstrap "$addr" --retry "$work/$sample" --require-exact; done
}
retry "hot"
stop
start
retry "after a clean stop"
storm -n $((total / 50)) # so that there is something to recover
kill -9 "$pid"; wait "$pid" 2>/dev/null || true
start --set producer.state.memory.bytes=1048576
retry "after kill -9, with a budget of 1 MiB"
sleep 20
du -sb "$work/data/producers" | awk -v n="$((total + total / 50 + 10000))" '{printf "%d bytes of disk settled, %.1f an entry\n", $1, $1/n}'
echo "RSS $(rss_kib) KiB with the budget of 1 MiB"
stop
"$work/ottla" check "$work/data" | tail -5
