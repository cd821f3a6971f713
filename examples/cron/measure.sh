#!/bin/sh
# Measure every machine; machines that are off are no failure.
said=$(labmon collect --all --quiet 2>&1)
code=$?
# The summary of those that failed is no news; anything else is.
[ "$code" -eq 6 ] && code=0 && said=$(printf '%s\n' "$said" | grep -v ' failed: ')
[ -n "$said" ] && printf '%s\n' "$said" >&2
exit "$code"
