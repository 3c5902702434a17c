#!/usr/bin/env bash
# Flink, as a local cluster in one process: reads a topic, writes a topic, with checkpoints. It is killed and started again
# from its last checkpoint, and the broker too: at least once. It commits the offsets of its checkpoints for a group.
source "$(dirname "$0")/../lib.sh"
kafka_jars
jars "$scenario/pom.xml" "$cache/flink"
installed kcat kcat librdkafka1
compiled flink "$cache/flink/*"
connector=$(sed -n 's/.*flink-connector-kafka<.*<version>\(.*\)<.version>.*/\1/p' "$scenario/pom.xml")
version="$(sed -n 's/.*flink-clients<.*<version>\(.*\)<.version>.*/\1/p' "$scenario/pom.xml"), connector $connector"
client=Flink
in=flink-in-$run out=flink-out-$run consumers=flink-$run
for t in $in $out; do
  topic_tool --create --topic "$t" --partitions 3 --replication-factor 1 >"$work/topic.log" 2>&1 || { cat "$work/topic.log"; exit 1; }
done
opens=()
for p in java.util java.lang java.net java.io java.nio java.time java.util.concurrent; do opens+=("--add-opens=java.base/$p=ALL-UNNAMED"); done
cluster() { # [CHECKPOINT]
  : >"$work/flink.log"
  start flink "${java[@]}" "${opens[@]}" -cp "$cache/flink-classes:$cache/flink/*" Copy "$BOOTSTRAP" "$in" "$out" "$consumers" "$work/checkpoints" "$@"
}
last() { ls -td "$work"/checkpoints/*/chk-*/_metadata 2>/dev/null | head -1 | xargs -r dirname; }
written=0
more() { # 2000 records, some at a time
  local i
  for i in 1 2 3 4; do
    lines $((written + 1)) $((written + 500)) | produce "$in" 2>>"$work/kcat.log"
    written=$((written + 500))
    sleep 0.5
  done
}
failure() { grep -E 'ERROR|Exception' "$work/flink.log" | tail -3; }
arrived() { values "$out" | grep '^flink line-' | complete "$written"; }
reached() { await 240 arrived >/dev/null 2>&1 || { arrived; failure; return 1; }; }
has_checkpoint() { [ -n "$(last)" ]; }
checkpointed() { await 60 has_checkpoint || { echo "no checkpoint"; failure; return 1; }; }

more
cluster
need "$client" "$version" "topic to topic: every record arrives" reached
verdict "$client" "$version" "checkpoints are made" checkpointed
more
log "kill -9"
kill9 flink
more
cluster "$(last)"
verdict "$client" "$version" "topic to topic, killed and restarted from its checkpoint: every record arrives" reached
more &
sleep 1
restart_broker
wait $!
written=$((written + 2000)) # more ran in a process of its own
more
verdict "$client" "$version" "topic to topic$(restarted): every record arrives" reached
repeated() { # what came after the checkpoint may come again, the topic not
  local all
  all=$(values "$out" | wc -l)
  [ "$all" -le $((written + 4000)) ] || { echo "$all records for $written"; return 1; }
}
verdict "$client" "$version" "only what is later than the checkpoint is written again" repeated
caught_up() { # the group's lag as the tool shows it
  group_tool --describe --group "$consumers" >"$work/group" 2>&1 && [ "$(awk -v t="$in" '$2 == t && $6 == 0' "$work/group" | wc -l)" = 3 ]
}
lag() { await 60 caught_up || { cat "$work/group"; return 1; }; }
verdict "$client" "$version" "offsets of checkpoints are committed: no lag is left" lag
