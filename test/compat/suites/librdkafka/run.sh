#!/usr/bin/env bash
# librdkafka's own tests (its directory tests/, as it comes in the npm package of a client) against $BOOTSTRAP, a broker
# that runs, has 4 partitions for a new topic (num.partitions) and creates topics by itself.
#   RESULTS   file that gets a JSON line for each test; without it the results are only printed
#   CACHE     where the tests are kept, compiled (default test/compat/.cache)
#   TESTS     only these, by number, with commas: TESTS=0011,0012
#   ARGS      more arguments for the test runner: ARGS=-P makes every producer idempotent
#   JOBS      tests at a time (default 3: most of them wait for time to pass)
# Tests that need no broker, or more than a broker like this has, are left out: skip.txt says which and why. parts.txt
# names the parts of a test of which others are left out.
# Every test that reads in groups runs once for each group protocol. Ends with code 1 after a failure.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${BOOTSTRAP:?host:port of the broker}"
cache=${CACHE:-$here/../../.cache}
mkdir -p "$cache/librdkafka-tests"
dir=$(cd "$cache/librdkafka-tests" && pwd)
export TEST_SECONDS=${TEST_SECONDS:-240}

build() {
  bash "$here/../../librdkafka.sh" source @confluentinc/kafka-javascript@latest "$dir/source"
  cd "$dir/source"
  { make -j "$(nproc)" libs && make -j "$(nproc)" -C tests test-runner && make -C tests/interceptor_test; } >"$dir/build.log" 2>&1 ||
    { tail -30 "$dir/build.log" >&2 && return 1; }
  touch "$dir/stamp"
}
exec 9>"$dir/lock" && flock 9
[ -e "$dir/stamp" ] || build
flock -u 9

runs=$(mktemp -d)
trap 'rm -rf "$runs"' EXIT
cat >"$runs/test.conf" <<END
bootstrap.servers=$BOOTSTRAP
test.topic.prefix=rdkafkatest
test.topic.random=true
END
export RDKAFKA_TEST_CONF=$runs/test.conf TEST_KAFKA_VERSION=4.1.0 LIBRDKAFKA_RUNS=$runs
export LD_LIBRARY_PATH=$dir/source/src:$dir/source/src-cpp

cd "$dir/source/tests"
python3 "$here/tests.py" list test.c "$here" "${TESTS:-}" >"$runs/list"
one() { # NUMBER PART PROTOCOL...: one after the other, as they would find each other's topics
  local number=$1 part=$2 protocol at
  shift 2
  [ "$part" = all ] || export SUBTESTS=$part
  for protocol; do
    at=$LIBRDKAFKA_RUNS/$number.$part.$protocol
    TESTS=$number TEST_CONSUMER_GROUP_PROTOCOL=$protocol TEST_REPORT=$at.json timeout -k 5 "$TEST_SECONDS" \
      ./test-runner -L -Q -p1 ${ARGS:-} >"$at.log" 2>&1 </dev/null || true
  done
}
export -f one
xargs -P "${JOBS:-3}" -L 1 bash -c 'one "$@"' one <"$runs/list"
[ -z "${KEEP:-}" ] || cp -r "$runs" "$KEEP"
version=$(sed -n 's/^#define RD_KAFKA_VERSION 0x\(..\)\(..\)\(..\).*/0x\1 0x\2 0x\3/p' ../src/rdkafka.h)
# shellcheck disable=SC2086 # three numbers
version=$(printf '%d.%d.%d' $version)
python3 "$here/tests.py" report test.c "$here" "${TESTS:-}" "$runs" "$version" "${RESULTS:-/dev/null}"
