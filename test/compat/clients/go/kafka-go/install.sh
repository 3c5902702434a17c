#!/usr/bin/env bash
export CGO_ENABLED=0
exec "$(dirname "${BASH_SOURCE[0]}")/../install.sh" kafka-go github.com/segmentio/kafka-go
