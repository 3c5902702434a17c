#!/usr/bin/env bash
exec "$(dirname "${BASH_SOURCE[0]}")/../install.sh" java-4.3 "[4.3,4.4)"
