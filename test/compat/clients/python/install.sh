#!/usr/bin/env bash
# install.sh CLIENT [MODULE...]: the current version of a client from PyPI, in a virtual environment of its own,
# $CACHE/CLIENT. What is there already stays; UPGRADE=1 brings the newest. Prints "version: X" last.
set -euo pipefail
client=$1
cache=${CACHE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/.cache}
dir=$cache/$client
mkdir -p "$cache"
exec 9>"$cache/$client.lock" && flock 9

if [ ! -x "$dir/bin/python" ]; then
  if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv; } >&2
  fi
  rm -rf "$dir" && python3 -m venv "$dir" >&2
fi
if [ ! -e "$dir/stamp" ] || [ -n "${UPGRADE:-}" ]; then
  "$dir/bin/pip" install -q --upgrade "$@" >&2
  touch "$dir/stamp"
fi
echo "version: $("$dir/bin/python" -c 'import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))' "$client")"
