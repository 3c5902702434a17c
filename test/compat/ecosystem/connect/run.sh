#!/usr/bin/env bash
# Kafka Connect, distributed, from its jars: a file source and a file sink. Two workers share them; one is killed, the broker
# too, the worker comes back. Every line must reach the sink's file, and the internal topics must be compacted, really.
source "$(dirname "$0")/../lib.sh"
source "$eco/connect.sh"
kafka_jars
installed kcat kcat librdkafka1
client="Kafka Connect"
topic=connect-lines-$run
in=$work/in.txt out=$work/out.txt
: >"$in"
written=0
more() { # appends 500 lines to the source's file, some at a time
  local i
  for i in 1 2 3 4 5; do
    lines $((written + 1)) $((written + 100)) >>"$in"
    written=$((written + 100))
    sleep 0.7
  done
}
arrived() { complete "$written" <"$out"; }
# reached says whether all lines are in the sink's file within two minutes, and if not which.
reached() { await 180 arrived >/dev/null 2>&1 || { arrived; failure; return 1; }; }

cluster() { await 90 answers 1 || { echo "the worker does not come up"; failure; return 1; }; }
connectors() {
  connector 1 source "{\"connector.class\":\"org.apache.kafka.connect.file.FileStreamSourceConnector\",\"tasks.max\":\"1\",\"file\":\"$in\",\"topic\":\"$topic\",\"batch.size\":\"50\"}" &&
    connector 1 sink "{\"connector.class\":\"org.apache.kafka.connect.file.FileStreamSinkConnector\",\"tasks.max\":\"1\",\"file\":\"$out\",\"topics\":\"$topic\"}" &&
    { await 60 running 1 source && await 60 running 1 sink || { echo "tasks do not run"; failure; return 1; }; }
}
joined() { # the second worker is part of the cluster and something runs on it, or on the first, again
  await 90 answers 2 && await 60 running 2 source && await 60 running 2 sink || { echo "tasks do not run after a second worker joined"; failure; return 1; }
}
survived() {
  await 90 running 2 source && await 90 running 2 sink || { echo "tasks do not run after a worker was killed"; failure; return 1; }
}

topic_tool --create --topic "$topic" --partitions 3 --replication-factor 1 >"$work/topic.log" 2>&1 || { cat "$work/topic.log"; exit 1; }
log "worker 1"
worker 1
need "$client" $kafka_version "distributed worker starts, makes its topics, answers REST" cluster
verdict "$client" $kafka_version "file source and file sink are made and run" connectors
more
need "$client" $kafka_version "file source and sink: every line arrives" reached
log "worker 2"
worker 2
more
verdict "$client" $kafka_version "a second worker joins: the cluster rebalances, all tasks run" joined
log "kill -9 of worker 1"
kill9 worker1
more
verdict "$client" $kafka_version "file source and sink, worker killed: the other takes over" survived
verdict "$client" $kafka_version "file source and sink, worker killed: every line arrives" reached
restart_broker
more
log "worker 1 again, worker 2 killed"
worker 1
kill9 worker2
more
verdict "$client" $kafka_version "file source and sink, worker killed and restarted$(restarted): every line arrives" reached
in_topic() { values "$topic" | complete "$written"; }
verdict "$client" $kafka_version "file source, worker killed and restarted$(restarted): every line is in the topic" in_topic

policies() {
  local t out
  for t in "${topics[@]}"; do
    out=$(topic_tool --describe --topic "$t" 2>&1)
    grep -q 'cleanup.policy=compact' <<<"$out" || { echo "$t: $out"; return 1; }
  done
}
verdict "$client" $kafka_version "offsets, config and status topics have cleanup.policy=compact" policies
# The offsets topic: one key, a record every half second. After compaction there are holes in the offsets.
holes() {
  timeout 60 kcat -b "$BOOTSTRAP" -C -t "${topics[1]}" -o beginning -e -q -f '%p %o\n' | sort -n -k1,1 -k2,2 >"$work/offsets"
  awk '{n[$1]++; if (!($1 in first)) first[$1] = $2; last[$1] = $2} END {for (p in n) if (last[p] + 1 > n[p]) holes = 1; exit !holes}' "$work/offsets"
}
compacted() {
  local i
  for i in 1 2 3 4 5 6; do # the segment being written is not cleaned: it takes more records to end it
    await 15 holes && return
    more
  done
  echo "no hole in ${topics[1]}: $(wc -l <"$work/offsets") records"
  return 1
}
verdict "$client" $kafka_version "the offsets topic is compacted" compacted
log "the worker is restarted on compacted topics"
stop worker1
worker 1
more
verdict "$client" $kafka_version "worker restarted on compacted topics: every line arrives" reached
resumed() { # it went on where it was, not from the start: no line is there more often than workers came
  local most
  most=$(grep -ao 'line-[0-9]\{7\}\.' "$out" | sort | uniq -c | sort -rn | head -1 | awk '{print $1}')
  [ "$most" -le 4 ] || { echo "a line was delivered $most times"; return 1; }
}
verdict "$client" $kafka_version "after restarts it resumes from its offsets, not from the start" resumed
deleted() {
  rest 1 DELETE /connectors/sink && rest 1 DELETE /connectors/source && await 30 none
}
none() { [ "$(rest 1 GET /connectors 2>/dev/null)" = "[]" ]; }
verdict "$client" $kafka_version "connectors are deleted" deleted
stop worker1
