# One broker after another: healthy, ill, treated, and what is left of it. Sourced by run.sh.

heap=512m topic=ottla-storm-leak leak_rate=500

# healthy_load OPTION... begins the load of a healthy cluster and returns when the rolling restart is under way.
healthy_load() {
  begin healthy "$all/healthy" -bootstrap "$address" -duration 280s -pods 40 -rollout-after 4s -rollout-every 400ms "$@"
  await 60 grep -q '^ready' "$work/healthy.log" || { echo "the healthy load does not begin:"; tail -n 3 "$work/healthy.log"; return 1; }
}

# leak begins a storm that leaks faster than a real one, so that a minute shows what takes weeks, and returns when it has left
# some thousands of producers. Meanwhile it takes histograms of the JVM, if that is in DIR: what an entry costs is seen between them.
leak() { # [DIR]
  local second n
  begin leak "$ottla" storm -b "$address" -m fast --rate $leak_rate -p 4 --topic $topic --keep -n 300000 --max-seconds 200 -o json
  await 60 leaked 1 || { log "the storm does not begin: $(tail -n 1 "$work/leak.log")"; return 1; }
  second=$(grep -o '^ *[0-9]* s ' "$work/leak.log" | tail -n 1 | grep -o '[0-9]*')
  began_at=$(($(date +%s) - second))
  for n in 2000 4000 6000 8000; do
    await 45 leaked $n || { log "the storm is slow: $(tail -n 1 "$work/leak.log")"; break; }
    [ -z "${1:-}" ] || histogram "$1" "$work/histogram-at-$n.txt"
  done
}
leaked() { # PRODUCERS
  local last
  last=$(grep -o '[0-9]* producers' "$work/leak.log" | tail -n 1)
  [ "${last%% *}" -ge "$1" ] 2>/dev/null
}

# look OUT EXIT ARGUMENT... investigates, keeps the verdict as JSON and the scan, and holds it to its exit code.
look() {
  local out=$1 want=$2 code=0
  shift 2
  timeout 100 "$ottla" investigate -b "$address" --heap $heap --interval 6s -q -o json --record "$work/$out.scan.gz" "$@" >"$work/$out.json" 2>"$work/$out.err" || code=$?
  [ "$code" = "$want" ] || { echo "exit code $code, expected $want: $(head -c 500 "$work/$out.err") $(judge "$work/$out.json" '{v["sentence"]}' 2>/dev/null)"; return 1; }
  judge "$work/$out.json" '{v["sentence"]}'
}

# The verdict on a storm that runs. began_at is when it began, seconds since 1970.
verdict_names_leak() {
  judge "$work/ill.json" "v['suspects'][0]['name'] == '$topic'" '{v["suspects"][0]["name"]}' '{v["suspects"][0]["newborn_share"]} > 0.9' '{v["explained_share"]} > 0.75'
}
verdict_has_horsemen() {
  judge "$work/ill.json" '{[h["id"] + " " + h["status"] for h in v["horsemen"]]}' '[h["status"] for h in v["horsemen"] if h["id"] in ("H1", "H2", "H4")] == ["FOUND"] * 3' \
    '[h["status"] for h in v["horsemen"] if h["id"] in ("H4b", "H5")] == ["ABSENT"] * 2'
}
# On a slow machine it takes a while until the storm has found its pace: the onset lies between these two.
verdict_dates_onset() {
  ARG_began=$began_at ARG_log=$work/leak-then.log ARG_measured=$measured_at judge "$work/ill.json" 'v["onset"]["known"]' \
    'at(v["onset"]["earliest"]) <= when(log, measured, 1000) + 2 and at(v["onset"]["latest"]) >= began - 2' \
    '{at(v["onset"]["at"]) - began}' '{at(v["onset"]["earliest"]) - began}' '{at(v["onset"]["latest"]) - began}' '{when(log, measured, 1000) - began}' \
    'abs(at(v["onset"]["at"]) - began) < 60' "at(v['onset']['earliest']) > began or '$topic' in v['onset']['new_topics']"
}
# measured_at is when the histogram was taken: what the verdict says of its own time is projected to that moment, at the rate of the
# verdict. Where the machine could not keep the storm's pace meanwhile, at the storm's own count.
verdict_projects_heap() {
  local later='(measured - at(v["at"])) * v["worst"]["entries_per_second"]' projected
  export ARG_log=$work/leak-then.log ARG_histograms=$histograms ARG_after=$work/histogram-after.txt ARG_measured=$measured_at ARG_rate=$leak_rate
  if ! judge "$work/ill.json" 'near(pushed(log, measured) - pushed(log, measured, at(v["at"]) - 10), rate * (measured - at(v["at"]) + 10), 0.25)' >/dev/null; then
    echo "the storm was uneven;"
    later='(pushed(log, measured) - pushed(log, measured, at(v["at"])))'
  fi
  projected="v['worst']['bytes'] + $later * v['worst']['entry_bytes']"
  judge "$work/ill.json" '{entries(after)} > 5000' "{$projected}" '{entries(after) * entry_bytes(*histograms.split())}' \
    "near($projected, entries(after) * entry_bytes(*histograms.split()), 0.25)" \
    '{v["worst"]["entry_bytes"]}' 'near(v["worst"]["entry_bytes"], entry_bytes(*histograms.split()), 0.15)'
}
# The same at rest: the storm is over, nobody has come or gone.
verdict_knows_heap() {
  timeout 60 "$ottla" investigate -b "$address" --heap $heap --interval 1s -q -o json --fail-on never >"$work/still.json" 2>"$work/still.err" || { tail -n 1 "$work/still.err"; return 1; }
  histogram "$work/broker" "$work/histogram-still.txt"
  ARG_after=$work/histogram-still.txt ARG_histograms="$histograms $work/histogram-still.txt" judge "$work/still.json" '{v["worst"]["bytes"]}' \
    '{entries(after) * entry_bytes(*histograms.split())}' 'near(v["worst"]["bytes"], entries(after) * entry_bytes(*histograms.split()), 0.25)' \
    '{v["worst"]["entries"]}' '{entries(after)}'
}

# rule VERSION is the version's own rule of how long an entry lives, as expressions on a verdict.
rule() {
  if kafka_below "$1" 2.4; then
    printf '%s\n' '{v["state_life"]["key"]} == "transactional.id.expiration.ms"' '{v["state_life"]["trimming_helps"]}'
  elif kafka_below "$1" 3.4; then
    printf '%s\n' '{v["state_life"]["key"]} == "transactional.id.expiration.ms"' '{v["state_life"]["seconds"]} == 7 * 86400' \
      'not {v["state_life"]["trimming_helps"]}' 'not {v["state_life"]["dynamic"]}'
  else
    printf '%s\n' '{v["state_life"]["key"]} == "producer.id.expiration.ms"' '{v["state_life"]["seconds"]} == 86400' \
      'not {v["state_life"]["trimming_helps"]}' '{v["state_life"]["dynamic"]}'
  fi
}
knows_rule() { # OUT VERSION
  local expressions
  mapfile -t expressions < <(rule "$2")
  judge "$work/$1.json" "${expressions[@]}"
}

# classes VERSION are where the entries' class is.
classes() { if kafka_below "$1" 3.5; then echo kafka.log; else echo org.apache.kafka.storage.internals.log; fi; }

autopsy() { # OUT EXPRESSIONS_FILE... FILE: exit code 1 or 2: the storm is young
  local out=$1 code=0
  shift
  "$ottla" autopsy --heap $heap -o json "$@" >"$work/$out.json" 2>"$work/$out.err" || code=$?
  case $code in
    1 | 2) ;;
    *) echo "exit code $code, expected 1 or 2: $(tail -n 1 "$work/$out.err")"; return 1 ;;
  esac
}
dissect_histograms() { # VERSION
  autopsy histogram "$work/histogram-before.txt" "$work/histogram-after.txt" || return 1
  ARG_after=$work/histogram-after.txt judge "$work/histogram.json" "any('$(classes "$1").ProducerStateEntry' in h['classes'] for h in v['evidence']['histograms'])" \
    '{v["heap"]["entries"]} == entries(after)' '{v["heap"]["growth_known"]}'
}
dissect_dump() { # VERSION
  autopsy dump "$work/heap.hprof" || return 1
  ARG_after=$work/histogram-after.txt judge "$work/dump.json" '{v["suspects"][0]["name"]}.startswith("ottla-storm-leak-")' '{v["heap"]["entries"]} >= entries(after)' \
    'v["suspects"][0]["pid_min"] >= 0'
}
dissect_files() { # VERSION
  autopsy files "$work/remains" "$work/broker/logs" || return 1
  judge "$work/files.json" '{v["suspects"][0]["name"]}.startswith("ottla-storm-leak-")' '{v["heap"]["entries"]} > 1000' '{v["version"]}'
}

# paste COMMAND runs what a remedy prints as an administrator would, with Kafka's scripts on the path.
paste() {
  local name class dir=$work/bin
  mkdir -p "$dir"
  for name in kafka-configs:kafka.admin.ConfigCommand kafka-delete-records:kafka.admin.DeleteRecordsCommand; do
    class=${name#*:}
    printf '#!/usr/bin/env bash\nexec bash %q tool %q %q "$@"\n' "$here/kafka.sh" "$version" "$class" >"$dir/${name%%:*}.sh"
    chmod +x "$dir/${name%%:*}.sh"
  done
  (cd "$work" && PATH=$dir:$PATH timeout 60 bash -euc "$1") >"$work/paste.log" 2>&1 || { tail -n 4 "$work/paste.log"; echo "the command failed: $1"; return 1; }
  grep -v '^log4j:' "$work/paste.log" | tail -n 3
}
# remedy KEY prints the first command of the verdict that frees memory and has KEY in it.
remedy() {
  python3 - "$work/ill.json" "$1" <<'PY'
import json, sys
for r in json.load(open(sys.argv[1]))["remedies"]:
    if r["kind"] == "free memory" and sys.argv[2] in r.get("command", ""):
        print(r["command"])
        break
else:
    sys.exit("no remedy that frees memory has " + sys.argv[2])
PY
}
life_ms=6000 # instead of what the remedy proposes: nobody waits for ten minutes here
treat() {
  local command
  if kafka_below "$version" 2.4; then
    command=$(remedy kafka-delete-records) || { echo "$command"; return 1; }
    paste "$command"
  elif kafka_below "$version" 3.4; then
    command=$(remedy transactional.id.expiration.ms) || { echo "$command"; return 1; }
    echo "$command, and a restart"
    kafka_stop "$work/broker"
    sleep $((life_ms / 1000))
    kafka_start "$version" "$work/broker" "$port" $heap "${properties[@]}" transactional.id.expiration.ms=$life_ms
  else
    command=$(remedy producer.id.expiration.ms) || { echo "$command"; return 1; }
    paste "$(sed -E "s/(producer\.id\.expiration\.ms=)[0-9]+/\1$life_ms/" <<<"$command")"
  fi
}
# decayed N: the Nth look says that the fix works, and sees less than a tenth of the entries before it.
decayed() {
  judge "$work/fix-$1.json" '{v["sentence"]}' '{[p["entries"] for p in v["points"]]}' 'v["births_stopped"] and v["entries_falling"]' \
    'v["points"][-1]["entries"] < v["points"][0]["entries"] / 10'
}
# follows: a second look sees fewer entries, a later one that they are gone. How many it takes is the machine's and the version's affair.
follows() {
  local n code
  for n in 1 2 3 4 5 6; do
    code=0
    timeout 60 "$ottla" investigate -b "$address" --heap $heap --interval 4s -q -o json --record "$work/after-$n.scan.gz" --verify-fix "$work/ill.scan.gz" \
      $([ $n = 1 ] || echo --verify-fix "$work/after-$((n - 1)).scan.gz") >"$work/fix-$n.json" 2>"$work/fix-$n.err" || code=$?
    [ $code != 0 ] || ! decayed $n >/dev/null || break
  done
  [ $code = 0 ] || { echo "exit code $code: $(head -c 300 "$work/fix-$n.err")"; decayed $n; return 1; }
  decayed $n
}

# unharmed: the healthy producers have noticed nothing of all that.
unharmed() {
  [ "$ending" = 0 ] || { tail -n 3 "$work/healthy.log"; return 1; }
}

measure() {
  histogram "$work/broker" "$work/histogram-after.txt"
  measured_at=$(date +%s)
  histograms="$(echo "$work"/histogram-{before,at-*,after}.txt)"
  cp "$work/leak.log" "$work/leak-then.log"
  timeout 60 jcmd "$(cat "$work/broker/pid")" GC.heap_dump "$work/heap.hprof" >"$work/jcmd.log"
  cp -r --sparse=always "$work/broker/data" "$work/remains" 2>/dev/null || true # files come and go
}

chain_kafka() { # VERSION
  local d=$work/broker port address properties measured_at histograms began_at ending
  port=$(free_port) address=127.0.0.1:$port client="Apache Kafka $1" version=$1
  properties=(log.roll.ms=15000 log.index.size.max.bytes=65536 controlled.shutdown.enable=false)
  kafka_below "$1" 3.4 || properties+=(producer.id.expiration.check.interval.ms=2000)
  log "Kafka $1 begins"
  kafka_start "$1" "$d" "$port" $heap "${properties[@]}"
  healthy_load
  check "a healthy load that looks ill is healthy" look healthy 0 --html "$work/healthy.html"
  histogram "$d" "$work/histogram-before.txt"
  leak "$d"
  check "the storm beside it is found while it runs" look ill 2 --html "$work/ill.html" --markdown="$work/ill.md"
  measure
  check "the topic is named, and explains the births" verdict_names_leak
  check "horsemen 1, 2 and 4 are found, 4b and 5 are not" verdict_has_horsemen
  check "the onset is dated within the stated error" verdict_dates_onset
  check "the heap is projected within 25 % of what the JVM shows" verdict_projects_heap
  check "the version's own rule of how long an entry lives" knows_rule ill "$1"
  check "autopsy of the histograms" dissect_histograms "$1"
  check "autopsy of the heap dump" dissect_dump "$1"
  check "autopsy of the log directory and logs" dissect_files "$1"
  rm -rf "$work/heap.hprof" "$work/remains"
  ended leak
  check "the heap of now is within 25 % of what the JVM shows" verdict_knows_heap
  check "the remedy that is printed can be applied" treat
  check "--verify-fix follows the decay" follows
  ended healthy
  check "long-lived producers have not noticed" unharmed
}

serve_ottla() { # DIR
  mkdir -p "$1"
  (setsid "$ottla" serve --listen "$address" --data "$1/data" --http off >"$1/log" 2>&1 </dev/null & echo $! >"$1/pid")
  kafka_await 30 "$(cat "$1/pid")" kafka_listens "$port"
}

chain_ottla() {
  local d=$work/broker port address began_at ending
  port=$(free_port) address=127.0.0.1:$port client=Ottla version=$("$ottla" version | head -1 | sed 's/^ottla *//')
  serve_ottla "$d"
  healthy_load -transactions=false # it has none
  check "a healthy load that looks ill is healthy" look healthy 0
  leak
  check "the same storm is no danger, exit code 0" look ill 0
  check "it says why" judge "$work/ill.json" '{v["state_life"]["bounded"]}' '{v["cluster"]}' '{v["level"]} == "healthy"'
  ended leak
  ended healthy
  check "long-lived producers have not noticed" unharmed
  check "retries of 200 producers that were used once are all exact" retried
  kafka_stop "$d"
  check "autopsy of its data directory says that there is no danger" autopsy_ottla "$d/data"
}
retried() { timeout 60 "$ottla" storm -b "$address" -n 5000 --retry-sample 200 --require-exact -q -o json >"$work/retry.json" && judge "$work/retry.json" '{v["retry"]["exact"]} == 200'; }
autopsy_ottla() {
  local code=0
  "$ottla" autopsy --heap $heap -o json "$1" >"$work/autopsy.json" 2>"$work/autopsy.err" || code=$?
  judge "$work/autopsy.json" '{v["sentence"]}' || return 1
  [ $code = 0 ] || { echo "exit code $code, expected 0"; return 1; }
}

# page opens the report of the storm on the newest Kafka in a browser; its checks are those of page/check.mjs.
page() {
  local client="HTML report" version="" line lines
  version=$("$ottla" version | head -1 | sed 's/^ottla *//')
  [ -e "$all/4.3.1/ill.html" ] || { echo "there is no report: the step 4.3.1 makes it"; return 1; }
  mapfile -t lines < <(timeout 240 bash "$here/page/run.sh" "$all/4.3.1/ill.html" 2>"$work/page.err" | grep -E '^(PASS|FAIL) ')
  [ ${#lines[@]} -gt 0 ] || { echo "the browser said nothing:"; tail -n 5 "$work/page.err"; return 1; }
  for line in "${lines[@]}"; do
    if [[ $line == PASS* ]]; then
      result "$client" "$version" "${line#PASS }" true ""
    else
      line=${line#FAIL }
      result "$client" "$version" "${line%%: *}" false "${line#*: }"
    fi
  done
}
