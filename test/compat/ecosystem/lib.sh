# What the scenarios share; sourced by NAME/run.sh. It takes from the environment
#   BOOTSTRAP     host:port of the broker under test
#   RESULTS       file to which each scenario appends its results, one JSON object a line
#   CACHE         what is downloaded and compiled; kept between runs
#   RESTART_CMD   kills the broker with -9 and starts it again at the same address, returns when it listens; may be empty
#   LIMIT         seconds after which a scenario is ended
# Everything that a scenario starts runs in a process group of its own, and is ended by that group's id at exit.
set -euo pipefail

eco=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
scenario=$(cd "$(dirname "$0")" && pwd)
: "${BOOTSTRAP:?host:port of the broker}" "${RESULTS:?file for the results}"
export BOOTSTRAP
case $RESULTS in /*) ;; *) RESULTS=$PWD/$RESULTS ;; esac
mkdir -p "${CACHE:=$eco/../.cache}/ecosystem"
cache=$(cd "$CACHE/ecosystem" && pwd)
export RESULTS CACHE
if [ -z "${ECOSYSTEM_BOUNDED:-}" ]; then
  ECOSYSTEM_BOUNDED=1 exec timeout -k 20 "${LIMIT:-900}" "$0" "$@"
fi
kafka_version=4.3.1
run=$(date +%s)-$$ # part of the names of topics and groups: each run has new ones
work=$(mktemp -d "${TMPDIR:-/tmp}/ecosystem.XXXXXX")
declare -A pids=()

log() { printf '%(%H:%M:%S)T %s\n' -1 "$*"; }

finish() {
  local code=$? name
  trap - EXIT TERM INT
  for name in "${!pids[@]}"; do kill9 "$name"; done
  if [ "$code" != 0 ] || [ -n "${KEEP:-}" ]; then
    log "ends with code $code; kept $work"
  else
    rm -rf "$work"
  fi
  exit "$code"
}
trap finish EXIT
trap 'log "out of time"; exit 124' TERM INT

# start NAME command... runs it in the background, in a process group of its own; its output is in $work/NAME.log.
start() {
  local name=$1
  shift
  setsid "$@" >>"$work/$name.log" 2>&1 </dev/null &
  pids[$name]=$!
}
# kill9 NAME ends what start has started, as a power cut would.
kill9() {
  kill -9 -- "-${pids[$1]}" 2>/dev/null || true
  wait "${pids[$1]}" 2>/dev/null || true
  unset "pids[$1]"
}
# stop NAME asks it to end, and kills it when it has not within 30 seconds.
stop() {
  local pid=${pids[$1]}
  kill -TERM "$pid" 2>/dev/null || true
  await 30 gone "$pid" || log "$1 does not end, killed"
  kill9 "$1"
}
gone() { ! kill -0 "$1" 2>/dev/null; }

# await SECONDS command... runs it until it succeeds.
await() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.5
  done
}

restart_broker() {
  [ -n "${RESTART_CMD:-}" ] || return 0
  log "kills the broker and starts it again"
  timeout 120 bash -c "$RESTART_CMD" >>"$work/restart.log" 2>&1 || { log "the broker did not come back"; tail -5 "$work/restart.log"; exit 1; }
}
restarted() { if [ -n "${RESTART_CMD:-}" ]; then echo ", broker killed and restarted"; fi; }

# result CLIENT VERSION WHAT true|false WHY appends one result.
result() {
  log "$([ "$4" = true ] && echo PASS || echo FAIL) $1 $2: $3${5:+: $5}"
  python3 - "$@" >>"$RESULTS" <<'PY'
import json, sys
client, version, what, ok, why = sys.argv[1:]
print(json.dumps({"group": "ecosystem", "client": client, "version": version, "what": what, "ok": ok == "true", "why": why}, ensure_ascii=False))
PY
}

# verdict CLIENT VERSION WHAT command... takes success for a pass and what the command printed for the reason of a failure.
verdict() {
  local client=$1 version=$2 what=$3 why
  shift 3
  if why=$("$@" 2>&1); then
    result "$client" "$version" "$what" true ""
  else
    result "$client" "$version" "$what" false "$(tail -c 600 <<<"$why" | tr '\n\t' '  ')"
    return "${needed:-0}"
  fi
}
# need is a verdict without which the rest makes no sense: after a failure the scenario is over.
need() { needed=1 verdict "$@" || { cp "$work"/*.log "$cache/" 2>/dev/null || true; log "the rest is left out"; exit 0; }; }

# installed COMMAND PACKAGE... installs Debian packages when the command is missing.
installed() {
  command -v "$1" >/dev/null && return
  shift
  log "installs $*"
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive timeout 600 apt-get install -q -y --no-install-recommends "$@"; } >"$work/apt.log" 2>&1 ||
    { tail -5 "$work/apt.log"; return 1; }
}

# jars POM DIRECTORY fills the directory with the jars that the POM names, and makes it anew when the POM has changed.
jars() {
  installed javac default-jdk-headless
  installed mvn maven
  cmp -s "$1" "$2/pom.xml" && return
  log "fetches the jars of ${1#"$eco"/}"
  rm -rf "$2" && mkdir -p "$2"
  timeout 900 mvn -q -B -f "$1" dependency:copy-dependencies -DoutputDirectory="$2" -DincludeScope=runtime >"$work/mvn.log" 2>&1 ||
    { tail -5 "$work/mvn.log"; return 1; }
  cp "$1" "$2/pom.xml"
}

# compiled NAME CLASSPATH compiles the Java files of the scenario into $cache/NAME-classes.
compiled() {
  local to=$cache/$1-classes
  [ -e "$to/stamp" ] && [ -z "$(find "$scenario" -name '*.java' -newer "$to/stamp")" ] && return
  rm -rf "$to" && mkdir -p "$to"
  timeout 300 javac -d "$to" -cp "$2" "$scenario"/*.java
  touch "$to/stamp"
}

java=(java -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1)
warn=-Dorg.slf4j.simpleLogger.defaultLogLevel=warn
kafka_libs=$cache/kafka-$kafka_version
kafka_jars() { jars "$eco/pom.xml" "$kafka_libs"; }

# tool CLASS argument... runs one of Kafka's command line tools.
tool() {
  local class=$1
  shift
  timeout -k 5 120 "${java[@]}" "$warn" -cp "$kafka_libs/*" "$class" "$@"
}
topic_tool() { tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$BOOTSTRAP" "$@"; }
group_tool() { tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$BOOTSTRAP" "$@"; }

# values TOPIC prints the values of all records; kcat, assigned, until the end of every partition.
values() { timeout 60 kcat -b "$BOOTSTRAP" -C -t "$1" -o beginning -e -q -f '%s\n'; }
# produce TOPIC [option...] sends each line of the standard input as a record; -E: a broker that is away is no reason to end.
produce() {
  local topic=$1
  shift
  timeout 120 kcat -E -b "$BOOTSTRAP" -P -t "$topic" -X enable.idempotence=true "$@"
}

# lines FROM TO prints unique tokens, one a line.
lines() { seq -f 'line-%07.0f.' "$1" "$2"; }
# complete COUNT reads text and fails unless every token from 1 to COUNT is in it, naming the first that are missing.
complete() {
  local missing
  missing=$(comm -23 <(lines 1 "$1") <(grep -ao 'line-[0-9]\{7\}\.' | sort -u))
  [ -z "$missing" ] || { echo "missing $(wc -l <<<"$missing") of $1: $(head -3 <<<"$missing" | tr '\n' ' ')"; return 1; }
}
has_all() { "$2" "$3" | complete "$1"; }
