#!/usr/bin/env bash
# Debezium in a distributed Connect worker, following a PostgreSQL of its own through logical replication. Rows come before
# the connector, while it runs, while its worker is dead and around a restart of the broker. All must arrive, in order.
source "$(dirname "$0")/../lib.sh"
source "$eco/connect.sh"
kafka_jars
jars "$scenario/pom.xml" "$cache/plugins/debezium"
installed kcat kcat librdkafka1
[ -n "$(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null)" ] || installed initdb postgresql
bin=$(dirname "$(ls -d /usr/lib/postgresql/*/bin/initdb | sort -V | tail -1)")
plugins=$cache/plugins
converter=org.apache.kafka.connect.json.JsonConverter
client="Debezium (PostgreSQL $("$bin/postgres" --version | grep -o '[0-9.]*' | head -1))"
version=$(sed -n 's/.*debezium-connector-postgres<.*<version>\(.*\)<.version>.*/\1/p' "$scenario/pom.xml")
prefix=debezium-$run topic=debezium-$run.public.lines

# The server refuses to run as root.
as_user() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
pgport=$(free_port)
chmod 755 "$work"
mkdir "$work/pg"
[ "$(id -u)" != 0 ] || chown postgres "$work/pg"
(cd / && as_user "$bin/initdb" -D "$work/pg/data" -U owner -A trust -E UTF8 --no-sync) >"$work/initdb.log" 2>&1 || { tail -3 "$work/initdb.log"; exit 1; }
postgres() {
  local command=("$bin/postgres" -D "$work/pg/data" -p "$pgport" -k "$work/pg" -c listen_addresses=127.0.0.1 -c wal_level=logical -c fsync=off)
  if [ "$(id -u)" = 0 ]; then command=(runuser -u postgres -- "${command[@]}"); fi
  start postgres "${command[@]}"
}
sql() { timeout 60 "$bin/psql" -h 127.0.0.1 -p "$pgport" -U owner -d postgres -q -X -v ON_ERROR_STOP=1 -c "$1"; }
ready() { sql 'select 1' >/dev/null 2>&1; }
postgres
await 30 ready || { tail -3 "$work/postgres.log"; exit 1; }

written=0
more() { # inserts 200 rows, in transactions of 20
  local i
  for i in 1 2 3 4 5 6 7 8 9 10; do
    sql "insert into lines select i, 'line-' || lpad(i::text, 7, '0') || '.' from generate_series($written + 1, $written + 20) i"
    written=$((written + 20))
    sleep 0.2
  done
}
changes() { # what the topic says, one change a line: operation, id, text
  timeout 60 kcat -b "$BOOTSTRAP" -C -t "$topic" -o beginning -e -q -f '%s\n' | python3 -c '
import json, sys
for line in sys.stdin:
    if line.strip():
        p = json.loads(line)
        row = p["after"] or p["before"]
        print(p["op"], row["id"], row["text"])'
}
arrived() { changes | complete "$written"; }
reached() { await 180 arrived >/dev/null 2>&1 || { arrived; failure; return 1; }; }

sql "create table lines (id int primary key, text text); alter table lines replica identity full"
more
worker 1
up() { await 120 answers 1 || { echo "the worker does not come up"; failure; return 1; }; }
need "$client" "$version" "the worker starts" up
config=$(cat <<JSON
{"connector.class": "io.debezium.connector.postgresql.PostgresConnector", "tasks.max": "1", "plugin.name": "pgoutput",
 "database.hostname": "127.0.0.1", "database.port": "$pgport", "database.user": "owner", "database.password": "none",
 "database.dbname": "postgres", "topic.prefix": "$prefix", "table.include.list": "public.lines", "snapshot.mode": "initial",
 "slot.name": "ecosystem", "topic.creation.default.replication.factor": "1", "topic.creation.default.partitions": "1",
 "topic.creation.default.cleanup.policy": "delete", "heartbeat.interval.ms": "1000"}
JSON
)
connected() { connector 1 debezium "$config" && { await 90 running 1 debezium || { echo "the task does not run"; failure; return 1; }; }; }
need "$client" "$version" "the connector is made and runs" connected
need "$client" "$version" "the snapshot of the rows that were there arrives" reached
more
verdict "$client" "$version" "inserted rows arrive" reached
log "kill -9 of the worker"
kill9 worker1
more
worker 1
more
verdict "$client" "$version" "worker killed and restarted: every row arrives" reached
more &
sleep 1
restart_broker
wait $!
written=$((written + 200)) # more ran in a process of its own
more
verdict "$client" "$version" "every row arrives$(restarted)" reached
sql "update lines set text = text || ' changed' where id <= 50; delete from lines where id <= 20"
updated() {
  local u d
  changes >"$work/changes"
  u=$(awk '$1 == "u" {print $2}' "$work/changes" | sort -u | wc -l) d=$(awk '$1 == "d" {print $2}' "$work/changes" | sort -u | wc -l)
  [ "$u $d" = "50 20" ] || { echo "$u updates, $d deletions"; return 1; }
}
followed() { await 60 updated >/dev/null 2>&1 || { updated; failure; return 1; }; }
verdict "$client" "$version" "updates and deletions arrive" followed
tombstones() { # each deletion is followed by a record without value
  local n
  n=$(timeout 60 kcat -b "$BOOTSTRAP" -C -t "$topic" -o beginning -e -q -f '%S\n' | grep -c '^-1$')
  [ "$n" = 20 ] || { echo "$n tombstones"; return 1; }
}
verdict "$client" "$version" "deletions leave tombstones" tombstones
ordered() { # the first time that each row is seen is in the order of the commits
  awk '($1 == "r" || $1 == "c") && !seen[$2]++ {print $2}' "$work/changes" | sort -c -n
}
verdict "$client" "$version" "the changes are in the order of the commits" ordered
stop worker1
