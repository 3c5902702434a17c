#!/usr/bin/env bash
exec "$(dirname "${BASH_SOURCE[0]}")/../install.sh" java-2.8 "[2.8,2.9)"
