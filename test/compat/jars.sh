#!/usr/bin/env bash
# The clients, the tools and the broker of Apache Kafka, from Maven Central into test/compat/.cache/libs: what pom.xml names.
# A JDK and Maven are installed with apt-get where they are missing.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$here/.cache

install() { # command package...
  command -v "$1" >/dev/null && return
  shift
  echo "installing $*" >&2
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } >&2
}
install javac default-jdk-headless
install mvn maven
mkdir -p "$cache"
if ! cmp -s "$here/pom.xml" "$cache/pom.xml"; then
  echo "fetching the jars of Apache Kafka" >&2
  rm -rf "$cache/libs"
  mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$cache/libs" -DincludeScope=runtime >&2
  cp "$here/pom.xml" "$cache/pom.xml"
fi
