#!/usr/bin/env bash
# Runs every ```sh block of README.md, in order, so that no command in it can go stale.
# A block that starts the broker in the foreground (`go run ./cmd/ottla`, alone) is
# started in the background, waited for, and stopped at the end. `make compat` is left
# to its own step of .ci/run, and this script fails if that step is gone.
set -euo pipefail
cd "$(dirname "$0")/.."

broker=""
work=$(mktemp -d)
cleanup() {
  if [ -n "$broker" ]; then kill -TERM "$broker" 2>/dev/null || true; wait "$broker" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap cleanup EXIT

awk -v dir="$work" '/^```sh$/ {n++; f=sprintf("%s/%03d.sh", dir, n); in_block=1; next} /^```$/ {in_block=0} in_block {print > f}' README.md
ls "$work"/*.sh >/dev/null

for block in "$work"/*.sh; do
  printf -- '-- README: %s\n' "$(head -1 "$block")"
  case "$(cat "$block")" in
  "go run ./cmd/ottla")
    # Built first: a signal to `go run` would not reach the broker.
    go build -o "$work/ottla" ./cmd/ottla
    "$work/ottla" --data "$work/ottla-data" >"$work/broker.log" 2>&1 &
    broker=$!
    for _ in $(seq 1 200); do
      curl -fsS http://127.0.0.1:9464/readyz >/dev/null 2>&1 && break
      kill -0 "$broker" 2>/dev/null || { cat "$work/broker.log"; exit 1; }
      sleep 0.1
    done
    curl -fsS http://127.0.0.1:9464/readyz >/dev/null || { cat "$work/broker.log"; exit 1; }
    # Another broker may hold the port and have answered.
    kill -0 "$broker" 2>/dev/null || { cat "$work/broker.log"; exit 1; }
    ;;
  "make compat")
    grep -qx 'make compat' .ci/run || { echo "README names make compat, .ci/run does not run it"; exit 1; }
    ;;
  *)
    bash -euo pipefail "$block" || { echo "README block failed:"; cat "$block"; exit 1; }
    ;;
  esac
done

if [ -n "$broker" ]; then
  kill -TERM "$broker"
  wait "$broker" || { echo "the broker did not exit 0 on SIGTERM"; cat "$work/broker.log"; exit 1; }
  broker=""
fi
