#!/usr/bin/env bash
# install.sh CLIENT MODULE: builds the driver of a Go client into $CACHE/CLIENT; its go.mod names the version, and
# UPGRADE=1 sets that to the newest. CGO_ENABLED is taken as it is. Prints "version: X" last.
set -euo pipefail
client=$1 module=$2
cd "$(dirname "${BASH_SOURCE[0]}")/$client"
mkdir -p "$CACHE/$client"
if [ -n "${UPGRADE:-}" ]; then
  { go get "$module@latest" && go mod tidy; } >&2
fi
GOFLAGS=-mod=mod go build -o "$CACHE/$client/driver" . >&2
echo "version: $(go list -m -f '{{.Version}}' "$module")"
