# The quickest honest death of a Kafka 4.3.1: few producers, each of which writes to all of a thousand partitions. Sourced by run.sh.

# full ADDRESS: what the broker remembers leaves room for no more than some of the producers that it bore before.
full() {
  local code=0
  timeout -s INT -k 10 100 "$ottla" "${wide[@]}" -b "$1" -n 150 --reuse-topic --max-seconds 60 --stall 15s -q >"$work/again.json" 2>"$work/again.err" || code=$?
  tail -n 1 "$work/again.err"
  case $code in
    0) echo "it bears 150 more producers"; return 1 ;;
    1 | 3 | 124) grep -qE 'answer|timeout|EOF|refused|reset' "$work/again.err" ;;
    *) echo "exit code $code"; return 1 ;;
  esac
}
# stays_dead: with the same heap it does not come up again, or is full as it was before.
stays_dead() { # DIR PORT
  START_SECONDS=45 kafka_start 4.3.1 "$1" "$2" 256m >"$work/restart.log" 2>&1 || { echo "it does not come up in 45 s"; return 0; }
  full "127.0.0.1:$2"
}
wide=(storm -m wide -p 1000 --topic ottla-storm-death --keep --connections 4 --record-bytes 16 -o json)

# watch_dying DIR STORM keeps histograms until the heap is full or the storm has ended.
watch_dying() {
  local n=0
  while running "$2" && ! ls "$1"/*.hprof >/dev/null 2>&1; do
    sleep 12
    n=$((n + 1))
    { date -u '+%F %T'; timeout 20 jcmd "$(cat "$1/pid")" GC.class_histogram; } >"$work/histogram-$n.txt" 2>/dev/null || { rm -f "$work/histogram-$n.txt"; break; }
  done
}

# remains WHAT OUT FILE... is the verdict of an autopsy as JSON, and as text for who reads the log.
remains() {
  local out=$1 code=0
  shift
  "$ottla" autopsy --heap 256m -o json "$@" >"$work/$out.json" 2>"$work/$out.err" || code=$?
  [ $code = 2 ] || { echo "exit code $code, expected 2; $(tail -1 "$work/$out.err")"; return 1; }
}
names_topic() { # OUT EXPRESSION...
  judge "$work/$1.json" '{v["suspects"][0]["name"]}.startswith("ottla-storm-death-")' '{v["suspects"][0]["topic"]}=="ottla-storm-death"' "${@:2}"
}

death() {
  local d=$work/broker port address ending
  port=$(free_port) address=127.0.0.1:$port client="Apache Kafka 4.3.1, -Xmx256m" version=4.3.1
  log "the death of Kafka 4.3.1 begins"
  JVM_OPTS="-XX:+HeapDumpOnOutOfMemoryError -XX:HeapDumpPath=$d" kafka_start 4.3.1 "$d" "$port" 256m log.roll.ms=30000 log.roll.jitter.ms=5000 log.index.size.max.bytes=65536
  begin storm "$ottla" "${wide[@]}" -b "$address" -n 100000 --max-seconds 240 --stall 20s
  watch_dying "$d" storm
  await 200 gone_storm || true
  ended storm
  check "a storm of producers that write to 1,000 partitions ends its answers" storm_stalled
  check "it bears no more producers, though the storm is over" full "$address"
  check "the JVM writes a heap dump when its memory is full" dumped "$d"
  kafka_kill "$d"
  check "autopsy of the heap dump finds a storm" remains dump "$d"/java_pid*.hprof
  check "autopsy of the heap dump names topic and partition" names_topic dump '{v["heap"]["entries"]} > 100000' '{len(v["suspects"])} > 5'
  check "autopsy of the histograms finds a storm and its rate" remains histogram "$work"/histogram-*.txt
  check "autopsy of the histograms counts entries" judge "$work/histogram.json" '{v["heap"]["entries"]} > 50000' '{v["heap"]["growth_known"]}'
  check "autopsy of the snapshot files finds a storm" remains snapshots "$d/data"
  check "autopsy of the snapshot files names topic and partition" names_topic snapshots
  check "autopsy of all remains finds a storm" remains all "$d"/java_pid*.hprof "$work"/histogram-*.txt "$d/data" "$d/logs" "$d/stdout.log"
  check "autopsy of all remains names topic and partition, and the death" names_topic all '{v["heap"].get("died")} == True'
  rm -f "$d"/java_pid*.hprof
  check "the same heap is not enough after a restart" stays_dead "$d" "$port"
}
# dumped: the JVM may take its time to find that nothing is left.
dumped() {
  await 60 grep -q 'Heap dump file created' "$1/stdout.log" || { echo "none in 60 s after the last answer"; return 1; }
  grep -E 'OutOfMemoryError|Heap dump file created' "$1/stdout.log" | head -3
}
gone_storm() { ! running storm; }
storm_stalled() {
  grep '^ottla:' "$work/storm.log" | tail -n 1 # after the JSON
  [ $ending = 3 ] || { echo "the storm ended with $ending, not with 3: the broker stopped answering"; return 1; }
}
