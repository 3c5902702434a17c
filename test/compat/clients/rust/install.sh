#!/usr/bin/env bash
# install.sh CRATE: a driver, compiled with the current version of its client from the crates' registry, in
# $CACHE/CRATE. What is there already stays, unless the driver's source changed; UPGRADE=1 brings the newest client.
# Prints "version: X" last.
set -euo pipefail
crate=$1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CACHE:-$here/../../.cache}
mkdir -p "$cache/$crate"
dir=$(cd "$cache/$crate" && pwd)
exec 9>"$cache/$crate.lock" && flock 9

# Cargo gets a copy: its lock file and its build stay in the cache.
mkdir -p "$dir/source/src"
cp -p "$here/$crate/Cargo.toml" "$dir/source/"
cp -p "$here/$crate/src/main.rs" "$dir/source/src/main.rs"
cp -p "$here/common.rs" "$dir/source/src/common.rs"
cd "$dir/source"
if [ -n "${UPGRADE:-}" ] || [ ! -e Cargo.lock ]; then
  cargo update --quiet >&2
fi
cargo build --quiet --release --target-dir "$dir/target" >&2
echo "version: $(cargo tree --quiet --depth 1 --prefix none | sed -n "s/^$crate v\([^ ]*\).*/\1/p")"
