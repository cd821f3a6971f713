"""Time for tests with bounds, which hold on a machine that others keep busy, too.

The kernel counts the time in which some process was ready to run and no processor was free (Linux,
Documentation/accounting/psi.rst). That time says nothing about labmon: `clock` leaves it out, and `Stalled`
gives it where the seconds were taken by labmon itself. On a quiet machine a bound is as tight as it reads.
"""

import time
from pathlib import Path

PRESSURE = Path("/proc/pressure/cpu")


def stalled() -> float:
    """Seconds since the machine started in which a process waited for a processor; 0 if nobody counts."""
    try:
        some = PRESSURE.read_text().split("\n")[0]
    except OSError:  # a kernel without it
        return 0.0
    return int(some.rpartition("total=")[2]) / 1e6


def clock() -> float:
    """Seconds on a clock that stands while a process waits for a processor. Only differences count."""
    return time.monotonic() - stalled()


class Stalled:
    """What a bound may be widened by: the seconds since this was made in which a process had to wait."""

    def __init__(self) -> None:
        self._before = stalled()

    def __call__(self) -> float:
        return stalled() - self._before
