#!/usr/bin/env bash
# install.sh PACKAGE DIRECTORY [PACKAGE@VERSION...]: the current version of a client from npm, and what it needs
# besides, in $CACHE/DIRECTORY. What is there already stays; UPGRADE=1 brings the newest. Prints "version: X" last.
# Clients that bring librdkafka along compile it, with the headers of the node in use and the system's OpenSSL and zlib.
set -euo pipefail
package=$1 name=$2
shift 2
cache=${CACHE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/.cache}
dir=$cache/$name
mkdir -p "$dir"
exec 9>"$cache/$name.lock" && flock 9

if [ ! -e "$dir/stamp" ] || [ -n "${UPGRADE:-}" ]; then
  command -v npm >/dev/null || { apt-get update && apt-get install -y --no-install-recommends nodejs npm; } >&2
  prefix=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
  if [ -e "$prefix/include/node/node.h" ]; then
    export npm_config_nodedir=$prefix # no download of headers
  fi
  export CKJS_LINKING=dynamic # confluentinc: a build from source uses the system's libraries, and fetches none
  [ -e "$dir/package.json" ] || echo '{"private": true}' >"$dir/package.json"
  (cd "$dir" && npm install --no-audit --no-fund --loglevel=error "$package@latest" "$@" >&2)
  touch "$dir/stamp"
fi
echo "version: $(cd "$dir" && node -p "JSON.parse(require('fs').readFileSync('node_modules/$package/package.json')).version.replace(/^v/, '')")"
