#!/usr/bin/env bash
# A gate for the build of an application: does its test run leak producers?
#   gate.sh BOOTSTRAP COMMAND...     runs the command, an integration test that writes through BOOTSTRAP, and then judges the cluster
# Ends with the command's own exit code if that failed, with 1 or 2 if producers leak, else with 0. Files in GATE_OUT (default .):
# investigate.html, and investigate.json.gz to replay. OTTLA names the program (default ottla).
# A test cluster is small: what counts here is whether producers are recreated, not whether a heap is in danger. So "armed" fails.
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 64; }
bootstrap=$1 out=${GATE_OUT:-.} ottla=${OTTLA:-ottla}
shift 1
mkdir -p "$out"
"$@" || exit $?
code=0
"$ottla" investigate --bootstrap "$bootstrap" --heap "${GATE_HEAP:-6g}" --interval "${GATE_INTERVAL:-5s}" --fail-on armed \
  --record "$out/investigate.json.gz" --html "$out/investigate.html" --quiet || code=$?
case $code in
  0) ;;
  1 | 2) echo "The test run leaks producers: make one at the start of the process. ottla investigate explain H1" >&2 ;;
  4) echo "The test cluster at $bootstrap does not answer: nothing was judged." >&2 ;;
  *) echo "ottla investigate ended with $code: nothing was judged." >&2 ;;
esac
exit $code
