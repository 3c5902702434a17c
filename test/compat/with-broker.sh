#!/usr/bin/env bash
# with-broker.sh PATH/TO/ottla [KEY=VALUE...] -- COMMAND...: runs the command with $BOOTSTRAP, a broker of its own on a free
# loopback port, in a temporary directory, with the configuration given. Ends as the command does.
set -uo pipefail
binary=$(realpath "$1")
shift
settings=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  settings+=(--set "$1")
  shift
done
shift
data=$(mktemp -d "${TMPDIR:-/tmp}/ottla-compat-XXXXXX")
"$binary" serve --listen 127.0.0.1:0 --data "$data/data" --http off "${settings[@]}" >"$data/log" 2>&1 </dev/null &
pid=$!
trap 'kill $pid 2>/dev/null; wait $pid 2>/dev/null; rm -rf "$data"' EXIT
for _ in $(seq 300); do
  port=$(sed -n 's/.* msg=ready listeners=\(127\.0\.0\.1:[0-9]*\).*/\1/p' "$data/log")
  [ -z "$port" ] || break
  kill -0 $pid 2>/dev/null || break
  sleep 0.1
done
[ -n "$port" ] || { tail -5 "$data/log" >&2; exit 1; }
BOOTSTRAP=$port "$@"
code=$?
kill -0 $pid 2>/dev/null || { echo "the broker is gone:" >&2; tail -20 "$data/log" >&2; exit 1; }
exit $code
