#!/usr/bin/env bash
# check.sh DRIVERDIR BOOTSTRAP [kill|members]: one driver by itself against a broker that runs.
#   (nothing)  produce 1000 records, read them by assignment and in a group, record by record
#   members    also three members of one group, of which one is killed: nothing is missed
# Kafka's jars (LIBS, default test/compat/.cache/libs) make the topic and say what is committed.
# Prints a line per check, "ok NAME" or "FAIL NAME why"; with a failure it ends with code 1.
set -uo pipefail
driver=$1/driver bootstrap=$2 mode=${3:-}
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

if [ "$mode" = members ]; then
  topic "members-$name-$tag"
  pids=()
  for m in 1 2 3; do
    "$driver" group "members-$name-$tag" "members-$name-$tag" 1000000 >"$tmp/m$m" 2>"$tmp/m$m.err" &
    pids+=($!)
  done
  run "members: produce" "$tmp/produce" produce "members-$name-$tag" 0 $n
  for _ in $(seq "$seconds"); do
    [ "$(records "$tmp"/m[123] | cut -f 1,2 | sort -u | wc -l)" = $n ] && break
    sleep 1
  done
  kill -9 "${pids[0]}"
  run "members: produce more" "$tmp/produce" produce "members-$name-$tag" $n $((2 * n))
  for _ in $(seq "$seconds"); do
    [ "$(records "$tmp"/m[123] | cut -f 1,2 | sort -u | wc -l)" = $((2 * n)) ] && break
    sleep 1
  done
  for m in 1 2; do
    kill -TERM "${pids[$m]}"
    wait "${pids[$m]}" || fail "members: exit of member $((m + 1))" "$(tail -3 "$tmp/m$((m + 1)).err" | tr '\n' ' ')"
  done
  wait "${pids[0]}" 2>/dev/null
  records "$tmp"/m[123] | sort -u -t $'\t' -k 1,1n -k 2,2n >"$tmp/members"
  same "members: nothing is missed" "$tmp/members" $((2 * n))
  committed "members: committed" "members-$name-$tag" $((2 * n))
fi
[ -z "${KEEP:-}" ] || cp -r "$tmp/." "$KEEP"
[ $failures = 0 ]
