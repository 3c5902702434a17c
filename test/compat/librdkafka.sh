#!/usr/bin/env bash
# librdkafka's source, as it comes in the npm package of a client, and what is built from it:
#   librdkafka.sh source PACKAGE DIR   the source into DIR, anew, configured
#   librdkafka.sh performance          rdkafka_performance into test/compat/.cache/rdkafka_performance, if it is not there
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${CACHE:-$here/.cache}

librdkafka_source() ( # PACKAGE DIR
  bash "$here/clients/node/native.sh"
  mkdir -p "$(dirname "$2")"
  part=$(cd "$(dirname "$2")" && pwd)/package.part
  rm -rf "$2" "$part" && mkdir -p "$part"
  cd "$part"
  npm pack --silent "$1" >npm-pack
  tar xzf "$(tail -1 npm-pack)"
  mv package/deps/librdkafka "$2"
  rm -rf "$part"
  cd "$2"
  ./configure --disable-gssapi >"$2.log" && rm "$2.log"
)

# rdkafka_performance is in the examples, which not every package has. lz4 is in librdkafka's own source.
librdkafka_performance() (
  package=node-rdkafka@3.6.1
  dir=$cache/rdkafka_performance
  mkdir -p "$dir"
  exec 9>"$dir/lock" && flock 9
  [ "$(cat "$dir/stamp" 2>/dev/null)" != "$package" ] || return 0
  echo "building rdkafka_performance" >&2
  librdkafka_source "$package" "$dir/source"
  { make -C "$dir/source" -j "$(nproc)" libs && make -C "$dir/source/examples" rdkafka_performance; } >"$dir/build.log" 2>&1 ||
    { tail -30 "$dir/build.log" >&2 && return 1; }
  cp "$dir/source/examples/rdkafka_performance" "$dir/"
  rm -rf "$dir/source"
  echo "$package" >"$dir/stamp"
)

verb=${1:?usage: librdkafka.sh source PACKAGE DIR | performance}
shift
case $verb in
  source | performance) "librdkafka_$verb" "$@" ;;
  *) echo "librdkafka.sh: unknown verb $verb" >&2; exit 64 ;;
esac
