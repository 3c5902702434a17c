#!/usr/bin/env bash
# check.sh DRIVERDIR BOOTSTRAP [members] [restart]: one driver by itself against a broker that runs.
#   (nothing)  produce 1000 records, read them by assignment and in a group, record by record
#   members    also three members of one group, of which one is killed: nothing is missed
#   restart    also two members under a broker that $RESTART (a shell command) kills and starts again
# Kafka's jars (LIBS, default test/compat/.cache/libs) make the topic and say what is committed.
# Prints a line per check, "ok NAME" or "FAIL NAME why"; with a failure it ends with code 1.
set -uo pipefail
driver=$1/driver bootstrap=$2 modes=" ${*:3} "
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
libs=${LIBS:-$here/../.cache/libs}
export BOOTSTRAP=$bootstrap
name=$(basename "$1")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
n=1000 seconds=${SECONDS_MAX:-120} failures=0 tag=$RANDOM$RANDOM

kafka() { java -Xmx128m -XX:TieredStopAtLevel=1 -cp "$libs/*" "$@" 2>"$tmp/kafka.err"; }
ok() { echo "ok $name: $1"; }
fail() {
  echo "FAIL $name: $1: ${*:2}"
  failures=$((failures + 1))
}
topic() {
  kafka org.apache.kafka.tools.TopicCommand --bootstrap-server "$bootstrap" --create --topic "$1" --partitions 3 \
    --replication-factor 1 >/dev/null || fail topic "$(tail -1 "$tmp/kafka.err")"
}
run() { # WHAT FILE args: the driver, bounded in time; its output into FILE
  local what=$1 file=$2
  shift 2
  timeout -k 10 "$seconds" "$driver" "$@" >"$file" 2>"$file.err"
  local code=$?
  [ $code = 0 ] || { [ $code = 3 ] && [ "$(cat "$file")" = unsupported ]; } || fail "$what" "exit $code: $(tail -3 "$file.err" | tr '\n' ' ')"
  return $code
}
wanted() { # COUNT: key TAB value of each record, sorted
  awk -v n="$1" 'BEGIN { for (i = 0; i < n; i++) { s = ""; for (j = 0; j < 64; j++) s = s sprintf("%c", 97 + (i + j) % 26); printf "k%d\tv%d-%s\n", i, i, s } }' | sort
}
records() { grep -hP '^\d+\t\d+\t' "$@"; }
same() { # WHAT FILE COUNT: each record once, offsets of a partition ascending from 0 without a gap
  if ! diff <(records "$2" | cut -f 3- | sort) <(wanted "$3") >"$tmp/diff"; then
    fail "$1" "$(grep -c '^[<>]' "$tmp/diff") records differ: $(head -2 "$tmp/diff" | tail -1)"
  elif ! records "$2" | awk -F '\t' '$2 != next_[$1] + 0 { exit 1 } { next_[$1]++ }'; then
    fail "$1" "offsets are not consecutive in a partition"
  else
    ok "$1"
  fi
}
committed() { # WHAT GROUP COUNT: the broker's sum of committed offsets, and the driver's last lines about them
  local sum
  sum=$(kafka org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$bootstrap" --describe --offsets --group "$2" |
    awk -v g="$2" '$1 == g { s += $4 } END { print s + 0 }')
  if [ "$sum" = "$3" ]; then ok "$1"; else fail "$1" "offsets committed sum up to $sum, not $3 $(tail -1 "$tmp/kafka.err")"; fi
}

topic "plain-$name-$tag"
run produce "$tmp/produce" produce "plain-$name-$tag" 0 $n && ok produce
run assign "$tmp/assign" assign "plain-$name-$tag" $n && same assign "$tmp/assign" $n
if grep -qs '^group:' "$1/cannot"; then
  [ $failures = 0 ]
  exit
fi
run group "$tmp/group" group "plain-$name-$tag" "group-$name-$tag" $n && same group "$tmp/group" $n
committed "committed" "group-$name-$tag" $n
sum=$(grep '^committed' "$tmp/group" | awk -F '\t' '{ last[$2] = $3 } END { for (p in last) s += last[p]; print s + 0 }')
if [ "$sum" = $n ]; then ok "committed lines"; else fail "committed lines" "they sum up to $sum, not $n"; fi

# The next member of the group starts where the last one ended.
run "produce more" "$tmp/produce" produce "plain-$name-$tag" $n $((2 * n)) && {
  run resume "$tmp/resume" group "plain-$name-$tag" "group-$name-$tag" $n && {
    cat "$tmp/group" "$tmp/resume" >"$tmp/both"
    same resume "$tmp/both" $((2 * n))
  }
}

# SIGTERM: commits, leaves, exits with 0.
timeout -k 10 "$seconds" "$driver" group "plain-$name-$tag" "group-$name-$tag" 1000000 >"$tmp/term" 2>"$tmp/term.err" &
pid=$!
run "produce for SIGTERM" "$tmp/produce" produce "plain-$name-$tag" $((2 * n)) $((3 * n))
for _ in $(seq "$seconds"); do
  [ "$(records "$tmp/term" | wc -l)" -ge $n ] && break
  sleep 1
done
kill -TERM $pid
wait $pid
code=$?
if [ $code = 0 ]; then ok SIGTERM; else fail SIGTERM "exit $code: $(tail -3 "$tmp/term.err" | tr '\n' ' ')"; fi
committed "committed after SIGTERM" "group-$name-$tag" $((3 * n))

start() { # TOPIC COUNT: members m1..mCOUNT of a group with the topic's name
  pids=()
  local m
  for m in $(seq "$2"); do
    "$driver" group "$1" "$1" 1000000 >"$tmp/$1.m$m" 2>"$tmp/$1.m$m.err" &
    pids+=($!)
  done
}
await() { # TOPIC COUNT: until the members have printed so many different records
  local deadline=$((SECONDS + seconds))
  while [ "$(records "$tmp/$1".m? | cut -f 1,2 | sort -u | wc -l)" -lt "$2" ] && [ $SECONDS -lt $deadline ]; do sleep 0.5; done
}
finish() { # WHAT TOPIC COUNT: the members that still run end well; nothing is missed, all is committed
  local m pid code
  for m in "${!pids[@]}"; do
    pid=${pids[$m]}
    [ "$pid" = killed ] && continue
    kill -TERM "$pid"
    ( sleep "$seconds" && kill -9 "$pid" ) 2>/dev/null &
    local watch=$!
    wait "$pid"
    code=$?
    kill $watch 2>/dev/null
    [ $code = 0 ] || fail "$1: exit of member $((m + 1))" "$code: $(tail -3 "$tmp/$2.m$((m + 1)).err" | tr '\n' ' ')"
  done
  records "$tmp/$2".m? | sort -u -t $'\t' -k 1,1n -k 2,2n >"$tmp/$2.all"
  same "$1: nothing is missed" "$tmp/$2.all" "$3"
  committed "$1: committed" "$2" "$3"
  echo "   $name: $1: $(records "$tmp/$2".m? | wc -l) records read of $3"
}

case $modes in *" members "*)
  t=members-$name-$tag
  topic "$t"
  start "$t" 3
  run "members: produce" "$tmp/produce" produce "$t" 0 $n
  await "$t" $n
  { kill -9 "${pids[0]}" && wait "${pids[0]}"; } 2>/dev/null
  pids[0]=killed
  run "members: produce more" "$tmp/produce" produce "$t" $n $((2 * n))
  await "$t" $((2 * n))
  finish members "$t" $((2 * n))
  ;;
esac
case $modes in *" restart "*)
  t=restart-$name-$tag
  topic "$t"
  start "$t" 2
  run "restart: produce" "$tmp/produce" produce "$t" 0 $n
  await "$t" $((n / 2))
  eval "${RESTART:?a command that kills and starts the broker}"
  run "restart: produce more" "$tmp/produce" produce "$t" $n $((2 * n))
  await "$t" $((2 * n))
  eval "$RESTART"
  run "restart: produce the last" "$tmp/produce" produce "$t" $((2 * n)) $((3 * n))
  await "$t" $((3 * n))
  finish restart "$t" $((3 * n))
  ;;
esac
[ -z "${KEEP:-}" ] || cp -r "$tmp/." "$KEEP"
[ $failures = 0 ]
