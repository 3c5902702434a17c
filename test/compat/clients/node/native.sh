#!/usr/bin/env bash
# native.sh: what a client needs to compile librdkafka, from the system's packages.
set -euo pipefail
if ! command -v c++ make python3 >/dev/null || [ ! -e /usr/include/openssl/ssl.h ] || [ ! -e /usr/include/zlib.h ]; then
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends build-essential python3 libssl-dev zlib1g-dev; } >&2
fi
