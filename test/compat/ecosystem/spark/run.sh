#!/usr/bin/env bash
# Spark structured streaming, its Python package with its Kafka package: reads a topic, writes a topic, with a checkpoint.
# The driver is killed and started again on the checkpoint, and the broker too: at least once.
source "$(dirname "$0")/../lib.sh"
kafka_jars
jars "$scenario/pom.xml" "$cache/spark"
installed kcat kcat librdkafka1
version=$(sed -n 's/.*spark-sql-kafka.*<version>\(.*\)<.version>.*/\1/p' "$scenario/pom.xml")
client="Spark structured streaming"
venv=$cache/spark-venv
if ! grep -q "^Version: $version$" "$venv"/lib/python3*/site-packages/pyspark-*.dist-info/METADATA 2>/dev/null; then
  log "installs pyspark $version"
  python3 -m venv "$venv" 2>/dev/null || { installed /none python3-venv && python3 -m venv "$venv"; }
  timeout 800 "$venv/bin/pip" install -q "pyspark==$version" >"$work/pip.log" 2>&1 || { tail -3 "$work/pip.log"; exit 1; }
fi
# What Spark has itself, in whatever version, must not come a second time.
artifact() { sed 's#.*/##; s/-[0-9][0-9.]*\.jar$//'; }
own=$(ls "$venv"/lib/python3*/site-packages/pyspark/jars | artifact)
packages=$(for jar in "$cache"/spark/*.jar; do grep -qxF "$(artifact <<<"$jar")" <<<"$own" || echo "$jar"; done | paste -sd,)
in=spark-in-$run out=spark-out-$run
for t in $in $out; do
  topic_tool --create --topic "$t" --partitions 3 --replication-factor 1 >"$work/topic.log" 2>&1 || { cat "$work/topic.log"; exit 1; }
done
driver() { start spark env PYSPARK_PYTHON="$venv/bin/python" SPARK_LOCAL_IP=127.0.0.1 "$venv/bin/python" "$scenario/stream.py" "$BOOTSTRAP" "$in" "$out" "$work/checkpoint" "$packages"; }
streaming() { await 180 grep -q STREAMING "$work/spark.log" || { echo "the query does not start"; grep -E 'ERROR|Exception' "$work/spark.log" | tail -3; return 1; }; }
written=0
more() { # 2000 records, some at a time
  local i
  for i in 1 2 3 4; do
    lines $((written + 1)) $((written + 500)) | produce "$in" 2>>"$work/kcat.log"
    written=$((written + 500))
    sleep 0.5
  done
}
arrived() { values "$out" | grep '^spark line-' | complete "$written"; }
reached() { await 240 arrived >/dev/null 2>&1 || { arrived; grep -E 'ERROR|Exception' "$work/spark.log" | tail -3; return 1; }; }

more
driver
need "$client" "$version" "the query starts" streaming
need "$client" "$version" "topic to topic: every record arrives" reached
more
log "kill -9 of the driver"
kill9 spark
more
driver
verdict "$client" "$version" "topic to topic, killed and restarted on the checkpoint: every record arrives" reached
more &
sleep 1
restart_broker
wait $!
written=$((written + 2000)) # more ran in a process of its own
more
verdict "$client" "$version" "topic to topic$(restarted): every record arrives" reached
repeated() { # at least once repeats at most the batches that were in flight at a kill, not the topic
  local all
  all=$(values "$out" | wc -l)
  [ "$all" -le $((written + 4 * 500)) ] || { echo "$all records for $written"; return 1; }
}
verdict "$client" "$version" "only batches in flight are written again" repeated
kill9 spark
batch() {
  local n
  n=$(timeout 200 env PYSPARK_PYTHON="$venv/bin/python" SPARK_LOCAL_IP=127.0.0.1 "$venv/bin/python" "$scenario/batch.py" "$BOOTSTRAP" "$in" "$packages" 2>"$work/batch.log" | sed -n 's/^DISTINCT //p')
  [ "$n" = "$written" ] || { echo "${n:-no answer} of $written"; grep -E 'ERROR|Exception' "$work/batch.log" | tail -3; return 1; }
}
verdict "$client" "$version" "a topic read as a table has every record" batch
