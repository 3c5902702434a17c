#!/usr/bin/env bash
# Single-node brokers of Apache Kafka from their Maven jars, on the JDK that is installed. As a library, or as a command:
#   kafka.sh fetch VERSION                              fetches its jars, prints its class path
#   kafka.sh start VERSION DIR PORT HEAP [KEY=VALUE...] starts a broker in DIR, returns when it answers; a second start of the
#                                                       same DIR finds the data of the first
#   kafka.sh stop DIR | kill DIR                        ends it as an operator would, or as a power cut would
#   kafka.sh tool VERSION CLASS ARGUMENT...             one of the classes behind Kafka's scripts
# HEAP is what -Xmx takes, for example 256m; it listens on 127.0.0.1:PORT and, for its controller or ZooKeeper, on PORT+1.
# DIR has data/ (log.dirs), logs/server.log, logs/controller.log, stdout.log and pid. Below 3.3 a broker has a ZooKeeper in a
# JVM of its own. JVM_OPTS is added to the broker's command line; START_SECONDS (60) bounds the start.
# The jars are kept in test/compat/.cache/kafka-VERSION.
set -euo pipefail
kafka_home=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kafka_cache=${CACHE:-$kafka_home/../compat/.cache}
kafka_versions=(2.3.1 2.8.2 3.3.2 3.6.2 3.9.1 4.3.1)

# kafka_below VERSION LIMIT tells whether the version is older.
kafka_below() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -1)" = "$1" ]; }
kafka_zookeeper() { kafka_below "$1" 3.3; }

kafka_dependency() { # GROUP ARTIFACT VERSION [EXCLUDED_GROUP EXCLUDED_ARTIFACT]...
  printf '<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version><exclusions>' "$1" "$2" "$3"
  shift 3
  while [ $# -gt 1 ]; do
    printf '<exclusion><groupId>%s</groupId><artifactId>%s</artifactId></exclusion>' "$1" "$2"
    shift 2
  done
  printf '</exclusions></dependency>\n'
}

kafka_pom() { # VERSION
  local scala=2.12 old=(log4j log4j org.slf4j slf4j-log4j12 org.apache.yetus audience-annotations)
  kafka_below "$1" 4.0 || scala=2.13
  printf '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>ottla</groupId>'
  printf '<artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging><dependencies>\n'
  kafka_dependency org.apache.kafka "kafka_$scala" "$1" "${old[@]}"
  if kafka_below "$1" 2.4; then
    kafka_dependency org.apache.zookeeper zookeeper 3.5.9 "${old[@]}" # 3.4 cannot resolve a host name on Java 14 and later
  fi
  if kafka_below "$1" 4.0; then
    kafka_dependency ch.qos.reload4j reload4j 1.2.25
    kafka_dependency org.slf4j slf4j-reload4j 1.7.36
    kafka_dependency org.slf4j slf4j-api 1.7.36
  else
    kafka_dependency org.apache.logging.log4j log4j-slf4j-impl 2.25.4
    kafka_dependency org.apache.logging.log4j log4j-core 2.25.4
    kafka_dependency org.slf4j slf4j-api 1.7.36
  fi
  printf '</dependencies></project>\n'
}

# kafka_fetch VERSION prints the class path, and fetches the jars when they are not there or what is wanted has changed.
kafka_fetch() {
  local libs=$kafka_cache/kafka-$1 pom
  mkdir -p "$kafka_cache"
  libs=$(cd "$kafka_cache" && pwd)/kafka-$1
  pom=$(mktemp)
  kafka_pom "$1" >"$pom"
  if ! cmp -s "$pom" "$libs/pom.xml"; then
    command -v mvn >/dev/null || { echo "Maven is missing" >&2; return 1; }
    echo "fetching the jars of Apache Kafka $1" >&2
    rm -rf "$libs.part" "$libs"
    timeout 600 mvn -q -B -f "$pom" dependency:copy-dependencies -DoutputDirectory="$libs.part" -DincludeScope=runtime >&2
    cp "$pom" "$libs.part/pom.xml"
    mv "$libs.part" "$libs"
  fi
  rm -f "$pom"
  printf '%s/*\n' "$libs"
}

kafka_log4j() { # DIR: log files as Kafka's own configuration writes them
  cat >"$1/log4j.properties" <<CONF
log4j.rootLogger=INFO, server
log4j.appender.server=org.apache.log4j.FileAppender
log4j.appender.server.File=$1/logs/server.log
log4j.appender.server.layout=org.apache.log4j.PatternLayout
log4j.appender.server.layout.ConversionPattern=[%d] %p %m (%c)%n
log4j.appender.controller=org.apache.log4j.FileAppender
log4j.appender.controller.File=$1/logs/controller.log
log4j.appender.controller.layout=org.apache.log4j.PatternLayout
log4j.appender.controller.layout.ConversionPattern=[%d] %p %m (%c)%n
log4j.logger.org.apache.zookeeper=WARN
log4j.logger.kafka.controller=TRACE, controller
log4j.additivity.kafka.controller=false
log4j.logger.org.apache.kafka.controller=INFO, controller
log4j.additivity.org.apache.kafka.controller=false
CONF
  cat >"$1/log4j2.properties" <<CONF
status=error
appender.server.type=File
appender.server.name=server
appender.server.fileName=$1/logs/server.log
appender.server.layout.type=PatternLayout
appender.server.layout.pattern=[%d] %p %m (%c)%n
appender.controller.type=File
appender.controller.name=controller
appender.controller.fileName=$1/logs/controller.log
appender.controller.layout.type=PatternLayout
appender.controller.layout.pattern=[%d] %p %m (%c)%n
rootLogger.level=info
rootLogger.appenderRef.server.ref=server
logger.controller.name=org.apache.kafka.controller
logger.controller.level=info
logger.controller.additivity=false
logger.controller.appenderRef.controller.ref=controller
CONF
}

kafka_properties() { # VERSION DIR PORT [KEY=VALUE...]
  local version=$1 dir=$2 port=$3
  shift 3
  if kafka_zookeeper "$version"; then
    printf 'broker.id=1\nzookeeper.connect=127.0.0.1:%s\nlisteners=PLAINTEXT://127.0.0.1:%s\n' $((port + 1)) "$port"
  else
    printf 'process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:%s\n' $((port + 1))
    printf 'listeners=PLAINTEXT://127.0.0.1:%s,CONTROLLER://127.0.0.1:%s\ncontroller.listener.names=CONTROLLER\n' "$port" $((port + 1))
  fi
  printf 'log.dirs=%s\noffsets.topic.replication.factor=1\noffsets.topic.num.partitions=4\n' "$dir/data"
  printf 'transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=4\n'
  printf 'group.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\nlog.cleaner.dedupe.buffer.size=8388608\n'
  [ $# = 0 ] || printf '%s\n' "$@"
}

kafka_listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
kafka_ready() { # DIR PORT BYTES: its log says so, after what earlier starts have left there
  kafka_listens "$2" && tail -c "+$(($3 + 1))" "$1/logs/server.log" 2>/dev/null | grep -qE 'INFO \[(KafkaServer|KafkaRaftServer nodeId=1|KafkaServer id=1)\] started|Kafka Server started'
}

# kafka_await SECONDS PID command... runs it until it succeeds or the process is gone.
kafka_await() {
  local end=$((SECONDS + $1)) pid=$2
  shift 2
  until "$@"; do
    kill -0 "$pid" 2>/dev/null && [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.2
  done
}

kafka_start() { # VERSION DIR PORT HEAP [KEY=VALUE...]
  local version=$1 dir port=$3 heap=$4 path logging before
  mkdir -p "$2/data" "$2/logs"
  dir=$(cd "$2" && pwd)
  path=$(kafka_fetch "$version")
  shift 4
  kafka_log4j "$dir"
  kafka_properties "$version" "$dir" "$port" "$@" >"$dir/server.properties"
  printf '%s\n' "$version" >"$dir/version"
  logging=(-Dlog4j.configuration="file:$dir/log4j.properties" -Dlog4j2.configurationFile="$dir/log4j2.properties")
  if kafka_zookeeper "$version"; then
    (setsid java -Xmx96m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 "${logging[@]}" -Dzookeeper.admin.enableServer=false -cp "$path" \
      org.apache.zookeeper.server.ZooKeeperServerMain $((port + 1)) "$dir/zookeeper" >>"$dir/zookeeper.log" 2>&1 </dev/null &
      echo $! >"$dir/zookeeper.pid") # a subshell: this shell need not tell how it ends
    kafka_await 30 "$(cat "$dir/zookeeper.pid")" kafka_listens $((port + 1)) || { echo "ZooKeeper does not listen:" >&2; tail -n 5 "$dir/zookeeper.log" >&2; return 1; }
  elif [ ! -e "$dir/data/meta.properties" ]; then
    java -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.level=error -cp "$path" kafka.tools.StorageTool format \
      -t 'b3R0bGEtdGVzdC1jbHVzdA' -c "$dir/server.properties" >"$dir/format.log" 2>&1 || { cat "$dir/format.log" >&2; return 1; }
  fi
  touch "$dir/logs/server.log"
  before=$(stat -c %s "$dir/logs/server.log")
  # shellcheck disable=SC2086
  (setsid java -Xmx"$heap" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 -Djava.awt.headless=true \
    "${logging[@]}" ${JVM_OPTS:-} -cp "$path" kafka.Kafka "$dir/server.properties" >>"$dir/stdout.log" 2>&1 </dev/null &
    echo $! >"$dir/pid")
  kafka_await "${START_SECONDS:-60}" "$(cat "$dir/pid")" kafka_ready "$dir" "$port" "$before" || { echo "Kafka $version does not start:" >&2; tail -n 5 "$dir/stdout.log" "$dir/logs/server.log" >&2; return 1; }
}

kafka_gone() { ! kill -0 "$1" 2>/dev/null; }

kafka_kill() { # DIR [FILE...]
  local file pid
  for file in "$1/pid" "$1/zookeeper.pid"; do
    [ -e "$file" ] || continue
    pid=$(cat "$file")
    kill -9 "$pid" 2>/dev/null || true
    kafka_await 20 $$ kafka_gone "$pid" || true
    rm -f "$file"
  done
}

kafka_stop() { # DIR
  local pid
  if [ -e "$1/pid" ]; then
    pid=$(cat "$1/pid")
    kill -TERM "$pid" 2>/dev/null || true
    kafka_await 30 $$ kafka_gone "$pid" || echo "the broker in $1 does not end, killed" >&2
  fi
  kafka_kill "$1"
}

kafka_tool() { # VERSION CLASS ARGUMENT...
  local path
  path=$(kafka_fetch "$1")
  shift
  timeout -k 5 120 java -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.level=error -cp "$path" "$@"
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  verb=${1:?usage: kafka.sh fetch|start|stop|kill|tool ...}
  shift
  case $verb in
    fetch | start | stop | kill | tool) "kafka_$verb" "$@" ;;
    *) echo "kafka.sh: unknown verb $verb" >&2; exit 64 ;;
  esac
fi
