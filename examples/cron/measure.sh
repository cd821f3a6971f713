#!/bin/sh
# Measure every machine. Machines that are off are no failure.
output=$(/usr/local/bin/labmon collect --all --quiet 2>&1)
code=$?
# The summary of machines that failed is dropped. Everything else is printed.
[ "$code" -eq 6 ] && code=0 && output=$(printf '%s\n' "$output" | grep -v ' failed: ')
[ -n "$output" ] && printf '%s\n' "$output" >&2
exit "$code"
