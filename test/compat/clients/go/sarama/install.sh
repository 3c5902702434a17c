#!/usr/bin/env bash
export CGO_ENABLED=0
exec "$(dirname "${BASH_SOURCE[0]}")/../install.sh" sarama github.com/IBM/sarama
