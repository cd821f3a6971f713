"""A lab on this machine, for `labmon demo`."""
