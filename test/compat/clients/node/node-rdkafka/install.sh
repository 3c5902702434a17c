#!/usr/bin/env bash
bash "$(dirname "${BASH_SOURCE[0]}")/../native.sh" &&
  exec bash "$(dirname "${BASH_SOURCE[0]}")/../install.sh" node-rdkafka node-rdkafka
