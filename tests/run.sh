#!/usr/bin/env bash
# All tests, in four processes side by side, since most of their time is waiting. Each takes the next file that is
# left, and has servers, databases, ports and network namespaces of its own.
#     tests/run.sh PYTEST [OPTION ...]
# Up to three that failed are run alone, on a machine that is theirs: a fault fails there as well, while a test that
# lost its core to the other processes passes. Each must pass twice in a row, and what it said at first stays printed.
set -u
unset PYTHONDONTWRITEBYTECODE # thousands of labmon processes are started: compile it once
cd "$(dirname "$0")/.." || exit
shopt -s extglob
record=.pytest_cache/v/cache/lastfailed
rm -f "$record"
# What is started in the background ignores Ctrl-C, and so would all that tests start.
pytest=(env --default-signal=INT "$1" -q)
# The longest folders first, lest one of their files is left for the end. A file stays together, since it may start
# a server for all its tests.
"${pytest[@]}" --numprocesses 4 --dist loadfile --no-loadscope-reorder --durations 10 "${@:2}" \
    tests/chaos tests/acceptance tests/!(chaos|acceptance|__pycache__)/
code=$?
[ $code -eq 1 ] && [ -s "$record" ] || exit $code
mapfile -t failed < <(python3 -c 'import json, sys; print(*json.load(open(sys.argv[1])), sep="\n")' "$record")
[ ${#failed[@]} -le 3 ] || exit $code
for try in first second; do
    printf '\nAlone, %s time: %s\n' "$try" "${failed[*]}"
    "${pytest[@]}" "${failed[@]}" || exit
done
