#!/usr/bin/env bash
# What Kafka users have around their broker, against a broker: Connect, Debezium, Spark, Flink, Kafka Streams, log shippers and
# the tools of groups. Each NAME/run.sh is one scenario, and runs by itself too; see lib.sh for what it takes.
#   run.sh [NAME...]    all scenarios, or these, one after the other
# BOOTSTRAP names the broker, RESTART_CMD kills and restarts it. Without BOOTSTRAP the binary OTTLA (bin/ottla) is started, on a
# free loopback port, in a temporary directory, with SERVE_ARGS. Results go to RESULTS, one JSON object a line; without it they are only printed.
# It ends with 0 when all scenarios could run; what failed is in the results.
set -euo pipefail
eco=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export RESULTS=${RESULTS:-/dev/null} CACHE=${CACHE:-$eco/../.cache}

if [ -z "${BOOTSTRAP:-}" ]; then
  binary=$(realpath "${OTTLA:-$eco/../../../bin/ottla}")
  data=$(mktemp -d "${TMPDIR:-/tmp}/ecosystem-broker.XXXXXX")
  export BOOTSTRAP
  BOOTSTRAP=127.0.0.1:$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  cat >"$data/restart" <<SCRIPT
#!/usr/bin/env bash
if [ -e "$data/pid" ]; then
  kill -9 "\$(cat "$data/pid")" 2>/dev/null
  while kill -0 "\$(cat "$data/pid")" 2>/dev/null; do sleep 0.1; done
fi
setsid "$binary" serve --listen "$BOOTSTRAP" --data "$data/data" --http off ${SERVE_ARGS:-} >>"$data/log" 2>&1 </dev/null &
echo \$! >"$data/pid"
for _ in \$(seq 300); do
  (exec 3<>"/dev/tcp/${BOOTSTRAP/:/\/}") 2>/dev/null && exit 0
  sleep 0.1
done
echo "the broker does not listen"; tail -3 "$data/log"; exit 1
SCRIPT
  chmod +x "$data/restart"
  export RESTART_CMD=$data/restart
  end() { kill -9 "$(cat "$data/pid")" 2>/dev/null || true; [ -n "${KEEP:-}" ] && echo "kept $data" || rm -rf "$data"; }
  trap end EXIT
  trap 'exit 124' TERM INT
  "$RESTART_CMD"
fi

code=0
scenarios=("$@")
[ $# != 0 ] || scenarios=(tools streams connect debezium spark flink syslog)
for name in "${scenarios[@]}"; do
  echo "== $name"
  "$eco/$name/run.sh" || { echo "$name could not run"; code=1; }
done
exit $code
