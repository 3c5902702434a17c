#!/usr/bin/env bash
# The command line tools of Apache Kafka that live on groups, and those that administer: what they print and how they exit.
source "$(dirname "$0")/../lib.sh"
kafka_jars
installed kcat kcat librdkafka1
p=org.apache.kafka.tools
in=tools-$run count=5000

# prints NAME EXIT "PATTERN..." CLASS argument... runs a tool with the broker's address, and holds it to its exit code and to
# patterns, separated by "&&", each of which must match a line, or none when it begins with "!".
prints() {
  local name=$1 exit=$2 patterns=$3
  shift 3
  verdict "$name" $kafka_version "$what" judged "$exit" "$patterns" "$@"
}
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
groups=$p.consumer.group.ConsumerGroupCommand

topic_tool --create --topic "$in" --partitions 3 --replication-factor 1 >"$work/topic.log" 2>&1 || { cat "$work/topic.log"; exit 1; }

what="acknowledges $count records" prints kafka-verifiable-producer 0 "\"sent\":$count&&\"acked\":$count" \
  $p.VerifiableProducer --topic "$in" --max-messages $count --acks -1 --repeating-keys 97
verifiable() { # PROTOCOL GROUP
  local code=0
  timeout 90 "${java[@]}" "$warn" -cp "$kafka_libs/*" $p.VerifiableConsumer --bootstrap-server "$BOOTSTRAP" --topic "$in" --group-id "$2" \
    --group-protocol "$1" --max-messages $count --reset-policy earliest >"$work/verifiable" 2>&1 || code=$?
  python3 - "$work/verifiable" $count <<'PY' || { echo "exits with $code"; tail -3 "$work/verifiable"; return 1; }
import json, sys
seen, committed, assigned = 0, {}, 0
for line in open(sys.argv[1]):
    if not line.startswith("{"):
        continue
    e = json.loads(line)
    if e["name"] == "records_consumed":
        seen += e["count"]
    elif e["name"] == "offsets_committed":
        if not e["success"]:
            sys.exit("a commit failed: " + line)
        committed.update({(o["topic"], o["partition"]): o["offset"] for o in e["offsets"]})
    elif e["name"] == "partitions_assigned":
        assigned += len(e["partitions"])
if seen != int(sys.argv[2]) or sum(committed.values()) != seen or assigned != 3:
    sys.exit(f"{seen} records seen, {sum(committed.values())} committed, {assigned} partitions assigned")
PY
}
verdict kafka-verifiable-consumer $kafka_version "classic group reads and commits every record" verifiable classic "verifiable-$run"
verdict kafka-verifiable-consumer $kafka_version "group.protocol=consumer reads and commits every record" verifiable consumer "verifiable-new-$run"
what="reads all as a group" prints kafka-consumer-perf-test 0 "start.time, end.time&&, $count, " \
  $p.ConsumerPerformance --topic "$in" --num-records $count --group "perf-$run"

console() { # PROTOCOL GROUP: reads half, then the rest, from what the group has committed
  local i n=0 exit=0
  for i in 1 2; do
    tool $p.consumer.ConsoleConsumer --bootstrap-server "$BOOTSTRAP" --topic "$in" --group "$2" --max-messages $((count / 2)) --timeout-ms 60000 \
      --command-property auto.offset.reset=earliest --command-property "group.protocol=$1" >>"$work/console-$2" 2>"$work/console.log" || exit=$?
    [ "$exit" = 0 ] || { echo "exits with $exit"; tail -3 "$work/console.log"; return 1; }
  done
  n=$(sort -u "$work/console-$2" | wc -l)
  [ "$n" = "$count" ] || { echo "$n different records of $count"; return 1; }
}
verdict kafka-console-consumer $kafka_version "a group goes on where it stopped" console classic "console-$run"
verdict kafka-console-consumer $kafka_version "a group of group.protocol=consumer goes on where it stopped" console consumer "console-new-$run"

g=console-$run
what="--list" prints kafka-consumer-groups 0 "^$g\$&&^console-new-$run\$&&^verifiable-$run\$" $groups --list
what="--list --state" prints kafka-consumer-groups 0 "^$g +Empty" $groups --list --state
what="--list --type" prints kafka-consumer-groups 0 "^$g +(Classic|Consumer)&&^verifiable-$run +Classic&&^verifiable-new-$run +Consumer" $groups --list --type
what="--describe shows offsets and lag" prints kafka-consumer-groups 0 "^$g +$in +0 +[0-9]+ +[0-9]+ +0 +- +- +-&&^$g +$in +2 &&has no active members" \
  $groups --describe --group "$g"
what="--describe --state" prints kafka-consumer-groups 0 "^$g .* Empty +0" $groups --describe --group "$g" --state
what="--describe --members of an empty group" prints kafka-consumer-groups 0 "has no active members" $groups --describe --group "$g" --members
what="--describe of an unknown group" prints kafka-consumer-groups 0 "does not exist|not found" $groups --describe --group "nobody-$run"
what="--describe --all-groups" prints kafka-consumer-groups 0 "^$g +$in&&^verifiable-new-$run +$in" $groups --describe --all-groups
reset() { # WHAT PATTERN argument...
  local name=$1 patterns=$2
  shift 2
  what="--reset-offsets $name" prints kafka-consumer-groups 0 "$patterns" $groups --group "$g" --reset-offsets "$@"
}
reset "--to-earliest --dry-run" "$g +$in +0 +0" --topic "$in" --to-earliest --dry-run
what="after --dry-run nothing has changed" prints kafka-consumer-groups 0 "^$g +$in +0 +[1-9][0-9]* +[0-9]+ +0 " $groups --describe --group "$g"
reset "--to-earliest" "$g +$in +0 +0" --topic "$in" --to-earliest --execute
what="after --to-earliest all is lag" prints kafka-consumer-groups 0 "^$g +$in +0 +0 +([0-9]+) +\1 " $groups --describe --group "$g"
reset "--to-offset" "$g +$in +1 +7" --topic "$in:1" --to-offset 7 --execute
reset "--shift-by" "$g +$in +1 +12" --topic "$in:1" --shift-by 5 --execute
reset "--to-latest --all-topics" "$g +$in +0 +[1-9]" --all-topics --to-latest --execute
reset "--to-datetime" "$g +$in +2 +0" --topic "$in" --to-datetime 2020-01-01T00:00:00.000 --execute
reset "--by-duration" "$g +$in +2 +0" --topic "$in" --by-duration P1D --execute
reset "--export" "^\"?$g|^\"?$in\"?,0,[0-9]+" --topic "$in" --to-current --dry-run --export
cp "$work/out" "$work/export.csv"
reset "--from-file" "$g +$in +0 " --from-file "$work/export.csv" --execute
what="--delete-offsets" prints kafka-consumer-groups 0 "$in +0 +Successful" $groups --delete-offsets --group "$g" --topic "$in:0"
what="after --delete-offsets the partition is gone" prints kafka-consumer-groups 0 "!^$g +$in +0 +[0-9]&&^$g +$in +1 +[0-9]" $groups --describe --group "$g"

# A group with members: it is described with them, and not reset, nor deleted.
members() { # PROTOCOL GROUP STATE
  start "member-$1" "${java[@]}" "$warn" -cp "$kafka_libs/*" $p.VerifiableConsumer --bootstrap-server "$BOOTSTRAP" --topic "$in" --group-id "$2" --group-protocol "$1" --reset-policy earliest
  await 60 grep -q partitions_assigned "$work/member-$1.log" || { log "no member of $2"; tail -3 "$work/member-$1.log"; }
  await 30 grep -q offsets_committed "$work/member-$1.log" || true
  what="--describe, $1, with a member" prints kafka-consumer-groups 0 "^$2 +$in +0 +[0-9]+ +[0-9]+ +[0-9]+ +[^ -]\S+ +/127.0.0.1" $groups --describe --group "$2"
  what="--describe --members --verbose, $1" prints kafka-consumer-groups 0 "^$2 +\S+ +/127.0.0.1 +\S+ +3 .*$in" $groups --describe --group "$2" --members --verbose
  what="--describe --state --verbose, $1" prints kafka-consumer-groups 0 "^$2 .*Stable .*1" $groups --describe --group "$2" --state --verbose
  what="--reset-offsets, $1, with a member is refused" prints kafka-consumer-groups 0 "inactive, but the current state is Stable" \
    $groups --group "$2" --reset-offsets --topic "$in" --to-earliest --execute
  what="--delete, $1, with a member is refused" prints kafka-consumer-groups 0 "not empty|NonEmpty|non-empty" $groups --delete --group "$2"
  what="--delete-offsets, $1, of a subscribed topic is refused" prints kafka-consumer-groups 0 "GroupSubscribedToTopicException" $groups --delete-offsets --group "$2" --topic "$in"
}
members classic "member-$run"
members consumer "member-new-$run"
what="--list" prints kafka-groups 0 "^member-$run +Classic +consumer&&^member-new-$run +Consumer +consumer&&^verifiable-$run +Classic" $p.GroupsCommand --list
what="--list --consumer" prints kafka-groups 0 "^member-new-$run +Consumer&&^member-$run " $p.GroupsCommand --list --consumer
what="--list --group-type classic" prints kafka-groups 0 "^member-$run &&!^member-new-$run " $p.GroupsCommand --list --group-type classic
what="--list --group-type share" prints kafka-groups 0 "!^member" $p.GroupsCommand --list --group-type share
for name in member-classic member-consumer; do stop "$name"; done
emptied() { judged 0 "^member-$run .* Empty +0" $groups --describe --group "member-$run" --state && judged 0 "^member-new-$run .* Empty +0" $groups --describe --group "member-new-$run" --state; }
verdict kafka-consumer-groups $kafka_version "members that end leave their groups" emptied
restart_broker
what="--describe$(restarted)" prints kafka-consumer-groups 0 "^$g +$in +1 +[0-9]+ +[0-9]+ +[0-9]+" $groups --describe --group "$g"
what="--delete" prints kafka-consumer-groups 0 "were successful|was successful" $groups --delete --group "$g" --group "verifiable-new-$run"
what="--list after --delete" prints kafka-consumer-groups 0 "!^$g\$&&!^verifiable-new-$run\$&&^verifiable-$run\$" $groups --list
what="--delete of an unknown group" prints kafka-consumer-groups 0 "GroupIdNotFound|does not exist|not found" $groups --delete --group "nobody-$run"

refusal="SecurityDisabledException|No Authorizer"
what="--list is refused" prints kafka-acls 1 "$refusal" $p.AclCommand --list
what="--add is refused" prints kafka-acls 1 "$refusal" $p.AclCommand --add --allow-principal User:a --operation Read --topic "$in"
what="--remove is refused" prints kafka-acls 1 "$refusal" $p.AclCommand --remove --force --allow-principal User:a --operation Read --topic "$in"
what="describe --status" prints kafka-metadata-quorum 0 "^LeaderId: +1&&^CurrentVoters: +.*1" $p.MetadataQuorumCommand describe --status
what="describe --replication" prints kafka-metadata-quorum 0 "Leader" $p.MetadataQuorumCommand describe --replication
what="of all partitions" prints kafka-leader-election 0 "!Exception" $p.LeaderElectionCommand --election-type preferred --all-topic-partitions
echo "{\"version\":1,\"partitions\":[{\"topic\":\"$in\",\"partition\":0,\"replicas\":[1]}]}" >"$work/reassign.json"
what="--execute to where it is" prints kafka-reassign-partitions 0 "Successfully started partition reassignment|reassignment" $p.reassign.ReassignPartitionsCommand --execute --reassignment-json-file "$work/reassign.json"
what="--verify" prints kafka-reassign-partitions 0 "$in-0 is (complete|completed)" $p.reassign.ReassignPartitionsCommand --verify --reassignment-json-file "$work/reassign.json"
what="--list" prints kafka-reassign-partitions 0 "No partition reassignments found" $p.reassign.ReassignPartitionsCommand --list
echo "{\"version\":1,\"partitions\":[{\"topic\":\"$in\",\"partition\":0,\"replicas\":[77]}]}" >"$work/reassign.json"
what="--execute to a broker that is not there" prints kafka-reassign-partitions 1 "[Uu]nknown broker|[Ii]nvalid replica|77" $p.reassign.ReassignPartitionsCommand --execute --reassignment-json-file "$work/reassign.json"
what="describe" prints kafka-features 0 "metadata.version" $p.FeatureCommand describe
what="--list" prints kafka-client-metrics 0 "!Exception" $p.ClientMetricsCommand --list
what="reset of an application's group to the start" prints kafka-streams-application-reset 0 "!ERROR" $p.StreamsResetter --application-id "verifiable-$run" --input-topics "$in" --force
