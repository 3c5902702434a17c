#!/usr/bin/env bash
# Side by side with Apache Kafka on this machine, in one run, alternating: the standard
# producer and consumer benchmarks of Kafka's own tools (1 KiB records, acks=all, idempotent;
# a consumer group, counted without its rebalance). Kafka runs with its defaults, that is without fsync; Ottla with its own,
# that is with an fsync before every acks=all answer. Prints every run, the medians and
# their ratio.
#
#   bench/compare/run.sh [runs] [records]
set -euo pipefail
cd "$(dirname "$0")/../.."
runs=${1:-3}
records=${2:-500000}
libs=test/compat/.cache/libs
[ -d "$libs" ] || { echo "run 'make compat' once: it fetches Kafka's jars into $libs"; exit 2; }
work=$(mktemp -d)
pids=()
cleanup() { for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done; wait 2>/dev/null || true; rm -rf "$work"; }
trap cleanup EXIT
cp="$libs/*"
CGO_ENABLED=0 go build -o "$work/ottla" ./cmd/ottla

cat >"$work/kafka.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:29193
listeners=PLAINTEXT://127.0.0.1:29192,CONTROLLER://127.0.0.1:29193
controller.listener.names=CONTROLLER
log.dirs=$work/kafka-data
offsets.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
P
java -cp "$cp" kafka.tools.StorageTool format -t "$(java -cp "$cp" kafka.tools.StorageTool random-uuid 2>/dev/null)" -c "$work/kafka.properties" >/dev/null 2>&1
java -Xmx1g -Xms1g -cp "$cp" kafka.Kafka "$work/kafka.properties" >"$work/kafka.log" 2>&1 & pids+=($!)
"$work/ottla" --listen 127.0.0.1:29092 --data "$work/ottla-data" --http off >"$work/ottla.log" 2>&1 & pids+=($!)

create() { java -cp "$cp" org.apache.kafka.tools.TopicCommand --bootstrap-server "$1" --create --topic "$2" --partitions 4 --replication-factor 1 >/dev/null 2>&1; }
for broker in 127.0.0.1:29192 127.0.0.1:29092; do
  for try in 1 2 3 4 5 6; do create "$broker" warm && break; [ "$try" -lt 6 ] || { echo "$broker does not answer"; tail -5 "$work"/*.log; exit 1; }; done
done

produce() { java -Xmx512m -cp "$cp" org.apache.kafka.tools.ProducerPerformance --topic "$2" --num-records "$records" --record-size 1024 --throughput -1 --producer-props "bootstrap.servers=$1" acks=all enable.idempotence=true 2>/dev/null | tail -1; }
consume() { # the last column is records a second without the rebalance
  java -Xmx512m -cp "$cp" org.apache.kafka.tools.ConsumerPerformance --bootstrap-server "$1" --topic "$2" --num-records "$records" --group "perf-$2" --hide-header 2>/dev/null |
    tail -1 | awk -F', ' '{print $5 " records, " $NF " records/sec"}'
}
rate() { grep -oE '[0-9.]+ records/sec' | head -1 | cut -d' ' -f1; }
median() { sort -n "$1" | awk '{v[NR]=$1} END {print (NR%2) ? v[(NR+1)/2] : (v[NR/2]+v[NR/2+1])/2}'; }

for run in $(seq 1 "$runs"); do
  for name in kafka ottla; do
    case $name in kafka) broker=127.0.0.1:29192 ;; ottla) broker=127.0.0.1:29092 ;; esac
    create "$broker" "perf$run"
    line=$(produce "$broker" "perf$run"); echo "$name run $run produce: $line"; echo "$line" | rate >>"$work/$name.produce"
    line=$(consume "$broker" "perf$run"); echo "$name run $run consume: $line"; echo "$line" | rate >>"$work/$name.consume"
  done
done
for what in produce consume; do
  k=$(median "$work/kafka.$what"); o=$(median "$work/ottla.$what")
  awk -v k="$k" -v o="$o" -v w="$what" 'BEGIN {printf "%s: median records/sec kafka %.0f, ottla %.0f, ratio %.2f\n", w, k, o, o/k}'
done
