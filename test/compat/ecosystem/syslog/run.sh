#!/usr/bin/env bash
# rsyslog and syslog-ng, each with its module for Kafka, as Debian ships them. Debian does not let the two live on one
# system: their packages are unpacked beside it, and each daemon is run from there.
source "$(dirname "$0")/../lib.sh"
installed kcat kcat librdkafka1
count=3000
arch=$(uname -m)-linux-gnu

# unpacked NAME PACKAGE... unpacks the packages and what they need into $cache/NAME.
unpacked() {
  local to=$cache/$1 list
  shift
  [ -e "$to/stamp" ] && return
  log "fetches $*"
  apt-get update -q >"$work/apt.log" 2>&1 || true
  list=$(apt-get install -s --no-install-recommends "$@" | awk '$1 == "Inst" {print $2}')
  rm -rf "$to" && mkdir -p "$to/debs"
  # A package that is installed already is not among them, and not needed; but the daemon's own always are.
  (cd "$to/debs" && timeout 300 apt-get download -q $(printf '%s\n' "$@" $list | sort -u)) >>"$work/apt.log" 2>&1 ||
    { tail -3 "$work/apt.log"; return 1; }
  for deb in "$to"/debs/*.deb; do dpkg -x "$deb" "$to"; done
  touch "$to/stamp"
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
# send PORT FROM TO sends lines as RFC 3164 messages over TCP, some at a time.
send() {
  local i step=$((($3 - $2 + 1) / 10))
  exec 4<>"/dev/tcp/127.0.0.1/$1"
  for ((i = $2; i <= $3; i += step)); do
    lines "$i" $((i + step - 1)) | sed 's/^/<13>Nov 23 04:00:00 host ecosystem: /' >&4
    sleep 0.2
  done
  exec 4>&-
}
# Where it listens, sends the lines, half of them after the broker was killed and started again, and reads the topic.
ships() { # NAME TOPIC PORT
  await 30 listens "$3" || { echo "$1 does not listen"; tail -3 "$work/$1.log"; return 1; }
  send "$3" 1 $((count / 3)) &
  wait $!
  restart_broker >&2
  send "$3" $((count / 3 + 1)) "$count" &
  wait $!
  await 60 has_all "$count" values "$2" >/dev/null 2>&1 || { has_all "$count" values "$2"; tail -2 "$work/$1.log"; return 1; }
}
ends() { # NAME: TERM, as at a shutdown
  kill -TERM "${pids[$1]}" || { echo "does not run any more"; return 1; }
  await 20 gone "${pids[$1]}" || { echo "does not end on TERM"; return 1; }
}

rsyslog() {
  local root=$cache/rsyslog topic=rsyslog-$run port version
  port=$(free_port)
  unpacked rsyslog rsyslog rsyslog-kafka
  version=$(dpkg-deb -f "$root"/debs/rsyslog-kafka_*.deb Version)
  mkdir -p "$work/rsyslog"
  cat >"$work/rsyslog.conf" <<CONF
global(workDirectory="$work/rsyslog")
module(load="imtcp")
module(load="omkafka")
input(type="imtcp" port="$port" address="127.0.0.1")
template(name="line" type="string" string="%msg%\n")
action(type="omkafka" broker=["$BOOTSTRAP"] topic="$topic" template="line" resubmitOnFailure="on" keepFailedMessages="on"
  failedMsgFile="$work/rsyslog/failed" action.resumeRetryCount="-1" action.resumeInterval="1"
  confParam=["compression.codec=lz4", "socket.keepalive.enable=true"])
CONF
  start rsyslog env LD_LIBRARY_PATH="$(libraries "$root")" "$root/usr/sbin/rsyslogd" -n -f "$work/rsyslog.conf" -i "$work/rsyslog.pid" \
    -M "$root/usr/lib/$arch/rsyslog"
  verdict rsyslog "$version" "omkafka$(restarted): every line is in the topic" ships rsyslog "$topic" "$port"
  verdict rsyslog "$version" "omkafka ends cleanly" ends rsyslog
  kill9 rsyslog
}
libraries() { echo "$1/usr/lib/$arch:$1/lib/$arch:$1/usr/lib/syslog-ng"; }

syslog_ng() {
  local root=$cache/syslog-ng topic=syslog-ng-$run port version
  port=$(free_port)
  unpacked syslog-ng syslog-ng-core syslog-ng-mod-rdkafka
  version=$(dpkg-deb -f "$root"/debs/syslog-ng-mod-rdkafka_*.deb Version)
  mkdir -p "$work/syslog-ng"
  cat >"$work/syslog-ng.conf" <<CONF
@version: 3.38
source s { network(ip("127.0.0.1") port($port) transport("tcp")); };
destination d {
  kafka-c(bootstrap-servers("$BOOTSTRAP") topic("$topic") message("\$MESSAGE")
    sync-send(no) workers(2) time-reopen(1) retries(100)
    config(queue.buffering.max.ms("100") compression.codec("gzip")));
};
log { source(s); destination(d); flags(flow-control); };
CONF
  start syslog-ng env LD_LIBRARY_PATH="$(libraries "$root")" "$root/usr/sbin/syslog-ng" -F --no-caps --stderr -f "$work/syslog-ng.conf" \
    -R "$work/syslog-ng/persist" -p "$work/syslog-ng/pid" -c "$work/syslog-ng/ctl" \
    --module-path "$(ls -d "$root"/usr/lib/syslog-ng/[0-9]*)"
  verdict syslog-ng "$version" "kafka-c$(restarted): every line is in the topic" ships syslog-ng "$topic" "$port"
  verdict syslog-ng "$version" "kafka-c ends cleanly" ends syslog-ng
  kill9 syslog-ng
}

rsyslog
syslog_ng
