#!/usr/bin/env bash
# Checks an HTML report in headless Chromium; installs Chromium and Playwright's driver where they are missing.
#   run.sh REPORT.html [--pictures DIR] [--terminal ANSI.txt]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$here/../../compat/.cache/page
command -v chromium >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-liberation; } >&2
if ! cmp -s "$here/package.json" "$cache/package.json"; then
  mkdir -p "$cache"
  (cd "$cache" && cp "$here/package.json" package.json && npm install --no-audit --no-fund --silent >&2) || { rm -f "$cache/package.json"; exit 1; }
fi
cp "$here/check.mjs" "$cache/check.mjs"
exec node "$cache/check.mjs" "$@"
