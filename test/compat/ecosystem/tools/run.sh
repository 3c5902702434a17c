#!/usr/bin/env bash
# Kafka's own system test, in small: kafka-verifiable-producer at a steady rate, two kafka-verifiable-consumers in a group, one
# killed and started again, the broker too. Then tools that move what such a group has left behind, and those of Streams.
source "$(dirname "$0")/../lib.sh"
kafka_jars
p=org.apache.kafka.tools
groups=$p.consumer.group.ConsumerGroupCommand

# judged EXIT "PATTERN..." CLASS argument... runs a tool with the broker's address, and holds it to its exit code and to patterns,
# separated by "&&": some line must match each, or no line when it begins with "!".
judged() {
  local exit=$1 patterns=$2 code=0 pattern
  shift 2
  tool "$1" --bootstrap-server "$BOOTSTRAP" "${@:2}" >"$work/out" 2>&1 || code=$?
  [ "$code" = "$exit" ] || { echo "exits with $code, expected $exit:"; tail -5 "$work/out"; return 1; }
  while [ -n "$patterns" ]; do
    pattern=${patterns%%&&*}
    if [ "$pattern" = "$patterns" ]; then patterns=; else patterns=${patterns#*&&}; fi
    case $pattern in
      !*) ! grep -qE -- "${pattern#!}" "$work/out" || { echo "printed '${pattern#!}':"; tail -8 "$work/out"; return 1; } ;;
      *) grep -qE -- "$pattern" "$work/out" || { echo "did not print '$pattern':"; tail -8 "$work/out"; return 1; } ;;
    esac
  done
}
# prints NAME "WHAT" EXIT "PATTERN..." CLASS argument... makes a result of it.
prints() { verdict "$1" $kafka_version "$2" judged "${@:3}"; }

verifiable() { # NAME CLASS argument...
  start "$1" "${java[@]}" "$warn" -cp "$kafka_libs/*" "$p.$2" --bootstrap-server "$BOOTSTRAP" --topic "$in" "${@:3}"
}
consumer() { verifiable "$1" VerifiableConsumer --group-id "$group" --group-protocol "$protocol" --reset-policy earliest --verbose; }
assigned() { grep -q '"name":"partitions_assigned".*"partition"' "$work/$1.log"; }
acked() { grep -c '"name":"producer_send_success"' "$work/producer-$protocol.log" || true; }
goes_on() { [ "$(acked)" -gt $((before + 1000)) ]; }
all_seen() { python3 "$scenario/judge.py" --seen "$work/producer-$protocol.log" "$work"/consumer-"$protocol"-*.log; }
play() {
  local before one=consumer-$protocol-1 two=consumer-$protocol-2
  before=$(acked)
  await 90 goes_on || { echo "only $(($(acked) - before)) records are acknowledged in 90 s"; return 1; }
  stop "producer-$protocol"
  await 150 all_seen || true
  stop "$two"
  stop "$one"
  python3 "$scenario/judge.py" "$work/producer-$protocol.log" "$work"/consumer-"$protocol"-*.log || { grep -hE 'ERROR|Exception' "$work"/consumer-"$protocol"-*.log | tail -2; return 1; }
}
for protocol in classic consumer; do
  in=verifiable-$protocol-$run group=verifiable-$protocol-$run
  topic_tool --create --topic "$in" --partitions 6 --replication-factor 1 >"$work/topic.log" 2>&1 || { cat "$work/topic.log"; exit 1; }
  log "group.protocol=$protocol"
  consumer "consumer-$protocol-1"
  consumer "consumer-$protocol-2"
  await 60 assigned "consumer-$protocol-1" && await 60 assigned "consumer-$protocol-2" || log "a consumer has no partitions"
  verifiable "producer-$protocol" VerifiableProducer --throughput 400 --acks -1 --repeating-keys 997
  sleep 5
  log "kill -9 of a consumer"
  kill9 "consumer-$protocol-1"
  sleep 2
  consumer "consumer-$protocol-1" # goes on in the same log
  sleep 3
  restart_broker
  verdict "kafka-verifiable-producer, -consumer" $kafka_version \
    "group.protocol=$protocol, a consumer killed and restarted$(restarted): all that is acknowledged is seen, nothing again behind a commit" play
  for name in producer-$protocol consumer-$protocol-1 consumer-$protocol-2; do kill9 "$name"; done
done

emptied() { judged 0 "^$group .* Empty +0" $groups --describe --group "$group" --state; }
verdict kafka-consumer-groups $kafka_version "members that end leave their group" emptied
prints kafka-consumer-groups "--reset-offsets --to-earliest --all-topics" 0 "^$group +$in +0 +0&&^$group +$in +5 +0" \
  $groups --group "$group" --reset-offsets --all-topics --to-earliest --execute
prints kafka-consumer-groups "--reset-offsets --to-current --export" 0 "^\"?$in\"?,0,0" $groups --group "$group" --reset-offsets --topic "$in" --to-current --dry-run --export
sed "s/^\(\"\?$in\"\?,3,\).*/\117/" "$work/out" | grep "$in" >"$work/export.csv" || true
prints kafka-consumer-groups "--reset-offsets --from-file" 0 "^$group +$in +3 +17&&^$group +$in +4 +0" \
  $groups --group "$group" --reset-offsets --from-file "$work/export.csv" --execute
prints kafka-consumer-groups "--reset-offsets --by-duration" 0 "^$group +$in +2 +0" $groups --group "$group" --reset-offsets --topic "$in" --by-duration P1D --execute
restart_broker
prints kafka-consumer-groups "--describe$(restarted)" 0 "^$group +$in +2 +0 +([0-9]+) +[1-9]" $groups --describe --group "$group"
formatted() { # FORMATTER
  echo $p.consumer.ConsoleConsumer --topic __consumer_offsets --from-beginning --timeout-ms 15000 --formatter $p.consumer.$1
}
prints kafka-console-consumer "Kafka's formatter reads the commits in __consumer_offsets" 0 \
  "\"group\":\"$group\",\"topic\":\"$in\",\"partition\":3}},\"value\":\{\"version\":[0-9],\"data\":\{\"offset\":17," $(formatted OffsetsMessageFormatter)
prints kafka-console-consumer "Kafka's formatter reads the classic groups in __consumer_offsets" 0 \
  "\"group\":\"verifiable-classic-$run\"}},\"value\":\{\"version\":[0-9],\"data\":\{\"protocolType\":\"consumer\",\"generation\":[1-9]" $(formatted GroupMetadataMessageFormatter)
prints kafka-streams-application-reset "to the end of the input" 0 "!ERROR" $p.StreamsResetter --application-id "$group" --input-topics "$in" --to-latest --force
prints kafka-streams-application-reset "has moved the offsets" 0 "^$group +$in +2 +[1-9][0-9]* +[0-9]+ +0 " $groups --describe --group "$group"
prints kafka-consumer-groups "--delete" 0 "was successful|were successful" $groups --delete --group "$group"
restart_broker
# A broker that is just back may not have loaded its groups yet, and lists what it has.
listed() { judged 0 "^verifiable-classic-$run\$" $groups --list; }
deleted() { await 60 listed >"$work/listed" || { tail -3 "$work/listed"; return 1; }; judged 0 "!^$group\$" $groups --list; }
verdict kafka-consumer-groups $kafka_version "--list after --delete$(restarted)" deleted
