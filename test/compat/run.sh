#!/usr/bin/env bash
# Other people's clients and tools against a broker, as a black box:
#   run.sh PATH/TO/ottla          starts that binary on a free loopback port, in a temporary data directory
#   run.sh --reference            the same suite against Apache Kafka itself, from the same jars
#   BOOTSTRAP=host:port run.sh    against a broker that runs already (DATA_DIR=... for kafka-dump-log);
#                                 what needs to kill the broker is skipped
# Further arguments (-run REGEXP, -keep) go to the suite: see main.go. The Kafka jars come from Maven Central into
# test/compat/.cache; a JDK, Maven and kcat are installed with apt-get where they are missing.
# Ends with "N passed, N failed" and, after a failure, with code 1.
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
install kcat kcat librdkafka1

mkdir -p "$cache"
if ! cmp -s "$here/pom.xml" "$cache/pom.xml"; then
  echo "fetching the jars of Apache Kafka" >&2
  rm -rf "$cache/libs"
  mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$cache/libs" -DincludeScope=runtime >&2
  cp "$here/pom.xml" "$cache/pom.xml"
fi
if [ ! -e "$cache/classes/stamp" ] || [ -n "$(find "$here/java" -name '*.java' -newer "$cache/classes/stamp")" ]; then
  rm -rf "$cache/classes" && mkdir -p "$cache/classes"
  javac -Xlint:all,-processing,-classfile,-path -Werror -d "$cache/classes" -cp "$cache/libs/*" "$here"/java/*.java
  touch "$cache/classes/stamp"
fi

args=(-cache "$cache")
if [ -n "${BOOTSTRAP:-}" ]; then
  args+=(-bootstrap "$BOOTSTRAP" -data "${DATA_DIR:-}")
elif [ "${1:-}" = --reference ]; then
  shift
  args+=(-reference)
else
  binary=$(realpath "${1:?usage: run.sh PATH/TO/ottla | --reference}")
  shift
  args+=(-ottla "$binary")
fi
cd "$here/../.."
go build -o "$cache/suite" ./test/compat
exec "$cache/suite" "${args[@]}" "$@"
