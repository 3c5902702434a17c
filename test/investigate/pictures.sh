#!/usr/bin/env bash
# Makes the pictures of docs/pictures: a report as a page and in a terminal, of a recorded scan of Apache Kafka 4.3.1 under a storm.
#   pictures.sh BIN            of the scan in testdata
#   pictures.sh --record BIN   records that scan anew first: Kafka with 384 MiB of heap, ten days of an ordinary application's history, and a
#                              storm of ten new producers a second that began 20 hours ago and goes on (some minutes)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
scan=$here/testdata/storm.scan.json.gz
record=
[ "${1:-}" != --record ] || { record=yes; shift; }
ottla=$(realpath "${1:?usage: pictures.sh [--record] PATH/TO/ottla}")
work=$(mktemp -d)
leak=
trap '[ -z "$leak" ] || kill -9 $leak || true; [ ! -e "$work/broker/pid" ] || kafka_kill "$work/broker"; rm -rf "$work"' EXIT

# past MODE MINUTES TOPIC PUSHES writes what would have been written so many minutes ago.
past() { "$ottla" storm -b "$address" -m "$1" --ahead "-${2}m" --topic "ottla-storm-$3" -n "$4" --keep -q "${@:5}" >/dev/null; }

if [ -n "$record" ]; then
  source "$here/kafka.sh"
  source "$here/lib.sh"
  port=$(free_port) address=127.0.0.1:$port
  kafka_start 4.3.1 "$work/broker" "$port" 384m log.index.size.max.bytes=65536
  how=(--topic-config retention.ms=-1 -p 3)
  for minutes in $(seq 14400 -480 0); do
    past control "$minutes" orders 200 "${how[@]}"
    how=(--reuse-topic -p 3)
  done
  how=(--topic-config retention.ms=-1 -p 3)
  for minutes in $(seq 1200 -30 30); do
    past fast "$minutes" payments-audit 18000 --max-seconds 120 "${how[@]}"
    log "the storm of $minutes minutes ago is written"
    how=(--reuse-topic -p 3)
  done
  "$ottla" storm -b "$address" --rate 10 --topic ottla-storm-payments-audit --reuse-topic -p 3 --keep -q -n 5000 >/dev/null &
  leak=$!
  mkdir -p "$(dirname "$scan")"
  "$ottla" investigate -b "$address" --heap 384m --interval 20s -q --fail-on never --record "$scan"
fi

"$ottla" investigate --replay "$scan" --heap 384m --fail-on never --html "$work/report.html" >/dev/null
script -qec "TERM=xterm '$ottla' investigate --replay '$scan' --heap 384m --fail-on never" /dev/null </dev/null | tr -d '\r' >"$work/terminal.txt"
bash "$here/page/run.sh" "$work/report.html" --pictures "$root/docs/pictures" --terminal "$work/terminal.txt"
