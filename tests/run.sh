#!/usr/bin/env bash
# All tests, in two halves side by side, since most of their time is waiting. The second is shown at the end.
#     tests/run.sh PYTEST
set -u
unset PYTHONDONTWRITEBYTECODE  # thousands of labmon processes are started: compile it once
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A shell has what it starts beside itself ignore Ctrl-C, and so would all that the tests start.
env --default-signal=INT "$1" -q tests/acceptance tests/chaos >"$log" 2>&1 &
beside=$!
"$1" -q tests/unit tests/contract tests/integration
first=$?
wait "$beside"
second=$?
cat "$log"
exit $((first ? first : second))
