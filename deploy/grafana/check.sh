#!/usr/bin/env bash
# Compiles the dashboards against Grafana's own TypeScript types (@grafana/schema): unknown fields, missing ones and wrong values are errors.
#   check.sh CACHE_DIR      npm fetches the types and the compiler into it, once
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${1:?usage: check.sh CACHE_DIR}
mkdir -p "$cache"
cd "$cache"
if [ ! -x node_modules/.bin/tsc ] || [ ! -d node_modules/@grafana/schema ]; then
  echo '{"private": true}' >package.json
  npm install --no-audit --no-fund --ignore-scripts --loglevel=error @grafana/schema@13 typescript >npm.log 2>&1 || { tail -5 npm.log >&2; exit 1; }
fi
rm -f ./*.ts
for file in "$here"/*.json; do
  {
    # The types name values by enumerations, JSON by their text.
    echo "import type { Dashboard } from '@grafana/schema';"
    # shellcheck disable=SC2016
    echo 'type Text<T> = T extends string ? `${T}` : T extends (infer E)[] ? Text<E>[] : T extends object ? { [K in keyof T]: Text<T[K]> } : T;'
    echo "export const dashboard: Text<Dashboard> ="
    cat "$file"
  } >"$(basename "$file" .json).ts"
done
node_modules/.bin/tsc --noEmit --strict --skipLibCheck --target es2022 --module nodenext --moduleResolution nodenext ./*.ts
