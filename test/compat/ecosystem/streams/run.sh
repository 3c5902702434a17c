#!/usr/bin/env bash
# Kafka Streams counts words, at least once. It is killed when it has committed all that was there, so its counts must stay
# exact, even when its state is lost and made again from the changelog; then it is killed in full flow, and nothing may be
# missing. In between a second instance joins, which moves half of the tasks.
source "$(dirname "$0")/../lib.sh"
kafka_jars
installed kcat kcat librdkafka1
compiled streams "$kafka_libs/*"
client="Kafka Streams"
app=streams-$run in=streams-in-$run out=streams-out-$run
repartition=$app-counts-repartition
topic_tool --create --topic "$in" --partitions 4 --replication-factor 1 >"$work/topic.log" 2>&1 || { cat "$work/topic.log"; exit 1; }
topic_tool --create --topic "$out" --partitions 4 --replication-factor 1 --config cleanup.policy=compact >"$work/topic.log" 2>&1 || { cat "$work/topic.log"; exit 1; }

instance() { # N
  start "streams$1" "${java[@]}" -Dorg.slf4j.simpleLogger.defaultLogLevel=info -cp "$cache/streams-classes:$kafka_libs/*" WordCount \
    "$BOOTSTRAP" "$app" "$in" "$out" "$work/state$1" commit.interval.ms=500 num.stream.threads=2 session.timeout.ms=10000 heartbeat.interval.ms=2000
}
words=(the quick brown fox jumps over the lazy dog and then the dog sleeps)
: >"$work/all"
feed() { # COUNT lines of five words
  awk -v n="$1" -v seed="$SECONDS$RANDOM" -v words="${words[*]}" 'BEGIN {srand(seed); k = split(words, w, " ");
    for (i = 0; i < n; i++) print w[int(rand()*k)+1], w[int(rand()*k)+1], w[int(rand()*k)+1], w[int(rand()*k)+1], "x" int(rand()*200)}' >"$work/some"
  cat "$work/some" >>"$work/all"
  produce "$in" <"$work/some"
}
committed() { timeout 150 "${java[@]}" "$warn" -cp "$cache/streams-classes:$kafka_libs/*" Lag "$BOOTSTRAP" "$app" 120 "$in" "$repartition" 2>&1 | tail -1; }
counts() { # the last count of each word, as the output topic says
  timeout 60 kcat -b "$BOOTSTRAP" -C -t "$out" -o beginning -e -q -f '%k %s\n' | awk '{n[$1] = $2} END {for (w in n) print w, n[w]}' | sort
}
truth() { tr ' ' '\n' <"$work/all" | sort | uniq -c | awk '{print $2, $1}' | sort; }
exact() {
  committed || { grep -E 'ERROR|Exception' "$work"/streams*.log | tail -2; return 1; }
  diff <(truth) <(counts) >"$work/diff" || { echo "$(grep -c '^[<>]' "$work/diff") differences, as $(grep '^[<>]' "$work/diff" | head -4 | tr '\n' ' ')"; return 1; }
}
atleast() { # no word is missing or counted too low
  committed || { grep -E 'ERROR|Exception' "$work"/streams*.log | tail -2; return 1; }
  join -a 1 <(truth) <(counts) | awk '$3 < $2 {bad++; last = $0} END {if (bad) print bad " words too low, as " last; exit bad > 0}'
}

feed 3000
instance 1
need "$client" $kafka_version "word count: the counts are exact" exact
log "a second instance"
instance 2
runs() { await 60 grep -q 'STATE RUNNING' "$work/streams2.log" || { echo "the second instance does not run"; tail -2 "$work/streams2.log"; return 1; }; }
verdict "$client" $kafka_version "word count, a second instance joins: it gets its tasks" runs
feed 3000
verdict "$client" $kafka_version "word count, a second instance joins: the counts are exact" exact
log "kill -9 of both, the state of the first is lost"
kill9 streams1
kill9 streams2
rm -rf "$work/state1"
feed 3000
instance 1
verdict "$client" $kafka_version "word count, killed and restarted, state made again from the changelog: the counts are exact" exact
feed 3000 &
sleep 0.5
restart_broker
wait $!
verdict "$client" $kafka_version "word count$(restarted): no count is too low" atleast
flow() { for _ in 1 2 3 4 5 6 7 8; do feed 3000 && sleep 0.3; done; }
flow &
sleep 2
log "kill -9 in full flow"
kill9 streams1
wait $!
instance 1
verdict "$client" $kafka_version "word count, killed in full flow and restarted: no count is too low" atleast
compacting() {
  local text
  text=$(topic_tool --describe --topic "$app-counts-changelog" 2>&1)
  grep -q 'cleanup.policy=compact' <<<"$text" || { echo "$text"; return 1; }
}
verdict "$client" $kafka_version "the changelog has cleanup.policy=compact" compacting
ends() {
  kill -TERM "${pids[streams1]}"
  await 40 gone "${pids[streams1]}" || { echo "does not end"; return 1; }
}
verdict "$client" $kafka_version "ends cleanly" ends
