# What the steps of run.sh share; sourced by it. Results are lines of $RESULTS, for the report card of test/compat, and are
# printed as PASS and FAIL with the reason.
passed=0 failed=0

log() { printf '%(%H:%M:%S)T %s\n' -1 "$*"; }

# result CLIENT VERSION WHAT true|false WHY
result() {
  if [ "$4" = true ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  log "$([ "$4" = true ] && echo PASS || echo FAIL) $1: $3${5:+: $5}"
  python3 - "$@" >>"$RESULTS" <<'PY'
import json, sys
client, version, what, ok, why = sys.argv[1:]
print(json.dumps({"group": "investigation", "client": client, "version": version, "what": what, "ok": ok == "true", "why": why}, ensure_ascii=False))
PY
}

# check WHAT command... is a result of the broker $client: success is a pass, what the command prints is its reason either way.
check() {
  local what=$1 why code=0
  shift
  why=$("$@" 2>&1) || code=$?
  why=$(tail -c 700 <<<"$why" | tr '\n\t' '  ')
  result "$client" "$version" "$what" "$([ $code = 0 ] && echo true || echo false)" "${why% }"
  return 0
}

# judge FILE EXPRESSION... holds a JSON file, as v, to Python expressions, and prints what they looked at. The last line of
# its output is the list of what does not hold. Other names: a of $ARG_a, as a number or text; those of judge.py.
judge() { python3 "$here/judge.py" "$@"; }

# began NAME command... runs it in the background in a process group of its own, with its output in $work/NAME.log.
declare -A began=()
begin() {
  local name=$1
  shift
  : >"$work/$name.log"
  setsid "$@" >"$work/$name.log" 2>&1 </dev/null &
  began[$name]=$!
}
running() { kill -0 "${began[$1]}" 2>/dev/null; }
# ended NAME asks it to end as Ctrl-C would, waits, and sets ending to its exit code.
ended() {
  ending=0
  kill -INT "${began[$1]}" 2>/dev/null || true
  kafka_await 20 $$ kafka_gone "${began[$1]}" || kill -9 -- "-${began[$1]}" 2>/dev/null || true
  wait "${began[$1]}" 2>/dev/null || ending=$?
  unset "began[$1]"
}

# await SECONDS command... runs it until it succeeds.
await() { kafka_await "$1" $$ "${@:2}"; }

free_port() { # of which the next one is free too
  python3 - <<'PY'
import random, socket
while True:
    port, held = random.randrange(21000, 32000), []
    try:
        for p in (port, port + 1):
            s = socket.socket(); s.bind(("127.0.0.1", p)); held.append(s)
    except OSError:
        continue
    print(port)
    break
PY
}

# histogram DIR FILE: the live objects of a broker, after a collection of garbage, with the time before them. Bounded in time.
histogram() { { date -u '+%F %T' && timeout 60 jcmd "$(cat "$1/pid")" GC.class_histogram; } >"$2"; }
