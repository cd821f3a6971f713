#!/usr/bin/env bash
# All tests, in four processes side by side, since most of their time is waiting. Each takes the next file that is
# left, and has servers, databases, ports and network namespaces of its own.
#     tests/run.sh PYTEST [OPTION ...]
set -u
unset PYTHONDONTWRITEBYTECODE # thousands of labmon processes are started: compile it once
cd "$(dirname "$0")/.." || exit
shopt -s extglob
# The longest folders first, lest one of their files is left for the end. A file stays together, since it may start
# a server for all its tests. What is started in the background ignores Ctrl-C, and so would all that tests start.
exec env --default-signal=INT "$1" -q --numprocesses 4 --dist loadfile --no-loadscope-reorder --durations 10 "${@:2}" \
    tests/chaos tests/acceptance tests/!(chaos|acceptance|__pycache__)/
