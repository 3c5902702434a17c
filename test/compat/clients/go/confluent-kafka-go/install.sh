#!/usr/bin/env bash
export CGO_ENABLED=1 # the package carries librdkafka, built
exec "$(dirname "${BASH_SOURCE[0]}")/../install.sh" confluent-kafka-go github.com/confluentinc/confluent-kafka-go/v2
