# What else producers can do to a broker. Sourced by run.sh.

# storm ARGUMENT... runs a short one to its end, into a topic that is kept.
storm() { timeout 90 "$ottla" storm -b "$address" --keep -q -o json "$@" >"$work/storm.json" 2>"$work/storm.err" || { tail -n 1 "$work/storm.err"; return 1; }; }

# past MODE HOURS TOPIC PUSHES writes what would have been written so many hours ago.
past() { storm -m "$1" --ahead "-$2h" --topic "$3" -n "$4" "${@:5}"; }

# slow is a leak of some producers a minute that began two and a half days ago, in the history of a cluster that nobody has watched.
slow() {
  local d=$work/broker port address client="Apache Kafka 4.3.1, a slow leak" version=4.3.1 hours more ended_at
  port=$(free_port) address=127.0.0.1:$port
  log "the slow leak begins"
  kafka_start 4.3.1 "$d" "$port" 384m log.index.size.max.bytes=65536
  more=(--topic-config retention.ms=-1)
  for hours in 240 216 192 168 144 120 96 84 72 66; do
    past control $hours ottla-storm-orders 100 "${more[@]}"
    more=(--reuse-topic)
  done
  more=(--topic-config retention.ms=-1)
  for hours in 60 54 48 42 36 30 24 18 12 6; do
    past control $hours ottla-storm-orders 100 --reuse-topic
    past fast $hours ottla-storm-audit 1500 "${more[@]}"
    more=(--reuse-topic)
  done
  begin leak "$ottla" storm -b "$address" -m fast --rate 0.5 --topic ottla-storm-audit --reuse-topic -n 1000 -o json
  ended_at=$(date +%s)
  check "it is found" found_slow
  check "its onset, 60 hours ago, is dated without any monitoring beforehand" dated_slow
}
found_slow() {
  timeout 100 "$ottla" investigate -b "$address" --heap 384m --interval 12s --fail-on never -q -o json >"$work/slow.json" 2>"$work/slow.err" || { tail -n 1 "$work/slow.err"; return 1; }
  judge "$work/slow.json" '{v["sentence"]}' '{v["level"]} in ("armed", "storm")' '{v["suspects"][0]["name"]} == "ottla-storm-audit"'
}
dated_slow() {
  ARG_now=$ended_at judge "$work/slow.json" 'v["onset"]["known"]' '{(at(v["onset"]["at"]) - now) / 3600}' '{(at(v["onset"]["earliest"]) - now) / 3600}' '{(at(v["onset"]["latest"]) - now) / 3600}' \
    'at(v["onset"]["earliest"]) <= now - 60 * 3600 + 120' 'at(v["onset"]["latest"]) >= now - 60 * 3600 - 120' 'abs(at(v["onset"]["at"]) - now + 60 * 3600) < 12 * 3600' \
    '{v["onset"]["new_topics"]} == ["ottla-storm-audit"]'
}

# diseases are the two horsemen that a storm of new producers does not bring.
diseases() {
  local d=$work/broker port address client="Apache Kafka 4.3.1, other diseases" version=4.3.1
  port=$(free_port) address=127.0.0.1:$port
  log "other diseases begin"
  kafka_start 4.3.1 "$d" "$port" 384m log.index.size.max.bytes=65536
  storm -m future-timestamps -n 3000 --topic ottla-storm-future
  check "records dated ten years ahead: horseman 5 is found" finds future H5
  begin churn "$ottla" storm -b "$address" -m txn-churn --rate 20 -n 3000 --topic ottla-storm-churn -o json
  await 60 churned || log "transactional ids come slowly: $(tail -n 1 "$work/churn.log")"
  check "a transactional id for each transaction: horseman 4b is found" finds churn H4b
}
churned() { grep -qE '[ ](3[0-9][0-9]|[4-9][0-9][0-9]|[0-9]{4,}) producers' "$work/churn.log"; }
finds() { # OUT HORSEMAN
  timeout 100 "$ottla" investigate -b "$address" --heap 384m --interval 6s --fail-on never -q -o json >"$work/$1.json" 2>"$work/$1.err" || { tail -n 1 "$work/$1.err"; return 1; }
  judge "$work/$1.json" "{[h['sentence'] for h in v['horsemen'] if h['id'] == '$2'][0]}" "[h['status'] for h in v['horsemen'] if h['id'] == '$2'] == ['FOUND']" '{v["sentence"]}'
}
