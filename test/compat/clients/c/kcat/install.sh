#!/usr/bin/env bash
# kcat, as Debian ships it. Prints "version: X" last.
set -euo pipefail
if ! command -v kcat >/dev/null; then
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends kcat librdkafka1; } >&2
fi
echo "version: $(kcat -V | sed -n 's/^Version \([^ ]*\) .*librdkafka \([^ ]*\) .*/\1, librdkafka \2/p')"
