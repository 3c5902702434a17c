#!/usr/bin/env bash
# Grants a principal what ottla investigate uses, and no more. It never writes a record and never changes the cluster.
#   acls.sh BOOTSTRAP PRINCIPAL [--command-config FILE]             grants
#   acls.sh --print BOOTSTRAP PRINCIPAL [--command-config FILE]     prints the commands instead
#   acls.sh --remove BOOTSTRAP PRINCIPAL [--command-config FILE]    takes them back
# PRINCIPAL as in User:investigate. TOPICS (environment, default all) names one topic, or a prefix with a star: 'payments.*'.
# MINIMAL=1 leaves out what the verdict can do without: no counter, no transactional ids, no access rules.
set -euo pipefail
action=--add verb=run
case ${1:-} in
  --print) verb=print; shift ;;
  --remove) action='--remove --force'; shift ;;
esac
[ $# -ge 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 64; }
bootstrap=$1 principal=$2
shift 2
topics=${TOPICS:-'*'} pattern=literal
case $topics in '*') ;; *'*') topics=${topics%'*'} pattern=prefixed ;; esac

acl() { # WHAT_FOR ARGUMENT...
  local what=$1
  shift
  # shellcheck disable=SC2206
  local command=(kafka-acls.sh --bootstrap-server "$bootstrap" "${config[@]}" $action --allow-principal "$principal" "$@")
  if [ "$verb" = print ]; then
    printf '# %s\n' "$what"
    printf '%q ' "${command[@]}"
    printf '\n'
  else
    "${command[@]}"
  fi
}

config=("$@")
acl 'which topics there are, their offsets (DESCRIBE), and the batch headers of their ends (READ)' \
  --operation Describe --operation Read --topic "$topics" --resource-pattern-type "$pattern"
acl 'retention, and how long an entry lives: named keys only' --operation DescribeConfigs --topic "$topics" --resource-pattern-type "$pattern"
acl 'the same of brokers' --operation DescribeConfigs --cluster
if [ "${MINIMAL:-}" != 1 ]; then
  acl 'a few producer ids: how fast are they handed out (leaves no state); who may write (access rules)' --operation IdempotentWrite --operation Describe --cluster
  acl 'whether producers have transactional ids' --operation Describe --transactional-id '*'
fi
