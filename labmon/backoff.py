"""Exponential backoff with jitter: how long to wait before a failed operation is tried again."""

import random
from collections.abc import Callable
from threading import Event

FIRST, LONGEST = 0.5, 30.0
"""Seconds: the first wait and the longest one, where the caller has no reason for others."""

Uniform = Callable[[float, float], float]


def delay(
    failures: int,
    *,
    first: float = FIRST,
    longest: float = LONGEST,
    jitter: float = 0.5,
    uniform: Uniform | None = None,
) -> float:
    """Seconds to wait after this many failures in a row: `first` after one, then doubled, at most `longest`.

    `jitter` is the part of the wait that is random, so that many clients do not come back together: 0.5 gives
    50 to 100 % of it, 1.0 anything from nothing to all of it.
    """
    bound = min(longest, first * 2.0 ** min(max(failures - 1, 0), 40))
    return (uniform or random.uniform)((1.0 - jitter) * bound, bound)


class Backoff:
    """Counts failures in a row and says how long to wait after each. For one thread."""

    def __init__(self, *, first: float = FIRST, longest: float = LONGEST, jitter: float = 0.5) -> None:
        self.failures = 0
        self._first, self._longest, self._jitter = first, longest, jitter

    def failed(self) -> float:
        """Count a failure. Returns the seconds to wait."""
        self.failures += 1
        return delay(self.failures, first=self._first, longest=self._longest, jitter=self._jitter)

    def reset(self) -> None:
        """It worked: the next failure is the first again."""
        self.failures = 0

    def wait(self, stop: Event) -> None:
        """Count a failure and sleep that long, or until stopped."""
        stop.wait(self.failed())
