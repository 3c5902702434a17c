# Kafka Connect in distributed mode, for the scenarios that need it; sourced after lib.sh.
group=ecosystem-connect-$run
topics=(connect-configs-$run connect-offsets-$run connect-status-$run)
port=()
connect_main=org.apache.kafka.connect.cli.ConnectDistributed

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# worker N starts worker N of the cluster, again when it was there before. More of its configuration is in $1.
worker() {
  local n=$1
  port[n]=${port[n]:-$(free_port)}
  # The internal topics roll quickly and are cleaned at the first dirty byte: that they are compacted shows within a minute.
  cat >"$work/worker$n.properties" <<PROPERTIES
bootstrap.servers=$BOOTSTRAP
group.id=$group
config.storage.topic=${topics[0]}
offset.storage.topic=${topics[1]}
status.storage.topic=${topics[2]}
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
offset.storage.partitions=2
status.storage.partitions=2
offset.storage.segment.ms=3000
offset.storage.min.cleanable.dirty.ratio=0.01
offset.flush.interval.ms=500
scheduled.rebalance.max.delay.ms=2000
session.timeout.ms=10000
heartbeat.interval.ms=1000
key.converter=${converter:-org.apache.kafka.connect.storage.StringConverter}
value.converter=${converter:-org.apache.kafka.connect.storage.StringConverter}
key.converter.schemas.enable=false
value.converter.schemas.enable=false
listeners=http://127.0.0.1:${port[n]}
rest.advertised.host.name=127.0.0.1
plugin.path=${plugins:-$kafka_libs/connect-file-$kafka_version.jar}
PROPERTIES
  start "worker$n" "${java[@]}" -Dorg.slf4j.simpleLogger.defaultLogLevel=info -Dorg.slf4j.simpleLogger.showDateTime=true \
    -cp "$kafka_libs/*" "$connect_main" "$work/worker$n.properties"
}

# rest N METHOD PATH [BODY] asks worker N and prints the answer.
rest() {
  python3 - "http://127.0.0.1:${port[$1]}$3" "$2" "${4:-}" <<'PY'
import sys, urllib.request
url, method, body = sys.argv[1:]
request = urllib.request.Request(url, method=method, data=body.encode() or None, headers={"Content-Type": "application/json"})
try:
    print(urllib.request.urlopen(request, timeout=20).read().decode())
except urllib.error.HTTPError as e:
    sys.exit(f"{e.code} {e.read().decode()}")
except OSError as e:
    sys.exit(str(e))
PY
}
answers() { rest "$1" GET / >/dev/null 2>&1 && rest "$1" GET /connectors >/dev/null 2>&1; }

# connector N NAME BODY makes a connector; again while the cluster rebalances.
connector() { await 30 rest "$1" PUT "/connectors/$2/config" "$3" >"$work/rest.log" 2>&1 || { tail -1 "$work/rest.log"; return 1; }; }
# running N NAME says whether the connector has a task, and all its tasks run.
running() {
  rest "$1" GET "/connectors/$2/status" 2>/dev/null |
    python3 -c 'import json, sys; t = json.load(sys.stdin)["tasks"]; sys.exit(not t or any(x["state"] != "RUNNING" for x in t))' 2>/dev/null
}
failure() { grep -hE 'ERROR|Exception' "$work"/worker*.log | tail -3; }
