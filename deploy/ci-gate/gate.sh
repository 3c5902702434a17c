#!/usr/bin/env bash
# A gate for the build of an application: does its test run leak producers?
#   gate.sh BOOTSTRAP COMMAND...     runs the command, an integration test that writes through BOOTSTRAP, and then judges
# Ends with the command's own exit code if that failed; with 1 or 2 if producers leak; with 3, 4 or 64 if nothing could be judged.
# Two judgements, on a test cluster of one broker that nobody else uses:
#   - the cluster's counter of producer ids, before and after: the run may make GATE_PRODUCERS (default 20) of them
#   - ottla investigate --fail-on armed, with a report in GATE_OUT (default .): investigate.html, and investigate.json.gz to replay
# OTTLA names the program (default ottla); GATE_CONFIG a client.properties, where the cluster wants a login.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 64; }
bootstrap=$1 out=${GATE_OUT:-.} ottla=${OTTLA:-ottla} most=${GATE_PRODUCERS:-20}
shift 1
mkdir -p "$out"
options=(--bootstrap "$bootstrap" --quiet)
[ -z "${GATE_CONFIG:-}" ] || options+=(--config "$GATE_CONFIG")

# The ids that five probes of the counter got: all that a scan of nothing else records under this name.
counter() { # FILE: nothing if it could not be read
  "$ottla" investigate "${options[@]}" --only counter --interval 100ms --fail-on never --record "$1" >/dev/null || return 0
  sed 's/,/\n/g' "$1" | sed -n 's/.*"pid":\([0-9][0-9]*\).*/\1/p' | sort -n
}

before=$(counter "$out/before.json" | tail -n 1)
"$@" || exit $?
after=$(counter "$out/after.json" | head -n 1)
rm -f "$out/before.json" "$out/after.json"
code=0
"$ottla" investigate "${options[@]}" --heap "${GATE_HEAP:-6g}" --interval "${GATE_INTERVAL:-5s}" --fail-on armed \
  --record "$out/investigate.json.gz" --html "$out/investigate.html" || code=$?
case $code in
  0)
    if [ -z "$before" ] || [ -z "$after" ]; then
      echo "The counter of producer ids could not be read: IDEMPOTENT_WRITE on Cluster would allow it." >&2
      exit 3
    fi
    made=$((after - before - 1))
    echo "The test run made $made producers; $most are allowed." >&2
    [ "$made" -le "$most" ] || code=1
    ;;
  4) echo "The test cluster at $bootstrap does not answer: nothing was judged." >&2 ;;
  1 | 2) ;;
  *) echo "ottla investigate ended with $code: nothing was judged." >&2 ;;
esac
case $code in 1 | 2) echo "It leaks producers: make one at the start of the process. ottla investigate explain H1" >&2 ;; esac
exit $code
