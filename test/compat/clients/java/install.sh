#!/usr/bin/env bash
# install.sh CLIENT VERSIONRANGE: the Java client of that range and the driver, compiled against it, into $CACHE/CLIENT.
# What is there stays; UPGRADE=1 looks for a newer one. Prints "version: X" last.
set -euo pipefail
client=$1 range=$2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$CACHE/$client
mkdir -p "$dir"
if [ ! -e "$dir/stamp" ] || [ -n "${UPGRADE:-}" ]; then
  rm -rf "$dir/libs"
  mvn -q -B -f "$here/pom.xml" -Dclients.version="$range" dependency:copy-dependencies -DoutputDirectory="$dir/libs" -DincludeScope=runtime >&2
  rm -rf "$dir/classes" && touch "$dir/stamp"
fi
if [ ! -e "$dir/classes/Driver.class" ] || [ "$here/src/Driver.java" -nt "$dir/classes/Driver.class" ]; then
  mkdir -p "$dir/classes"
  javac -Xlint:all,-processing,-classfile,-path -d "$dir/classes" -cp "$dir/libs/*" "$here/src/Driver.java" >&2
fi
jar=$(basename "$dir"/libs/kafka-clients-*.jar .jar)
echo "version: ${jar#kafka-clients-}"
