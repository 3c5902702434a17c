#!/usr/bin/env bash
export CGO_ENABLED=0
exec "$(dirname "${BASH_SOURCE[0]}")/../install.sh" franz-go github.com/twmb/franz-go
