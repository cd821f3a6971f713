#!/bin/sh
# Measure every machine; machines that are off are no failure.
said=$(labmon collect --all --quiet 2>&1)
code=$?
[ "$code" -eq 6 ] && exit 0
[ -n "$said" ] && printf '%s\n' "$said" >&2
exit "$code"
