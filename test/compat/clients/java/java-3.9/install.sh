#!/usr/bin/env bash
exec "$(dirname "${BASH_SOURCE[0]}")/../install.sh" java-3.9 "[3.9,3.10)"
