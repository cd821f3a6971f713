"""Packets per second."""

import time
from collections.abc import Callable

TICK = 0.1
"""Seconds at most that anything in a sweep waits before it looks at `stop` again."""

SLACK = 0.05
"""Seconds of delay that may be made up for. More would turn a pause into a burst."""


class RateLimiter:
    """Tells when the next packets may be sent. A rate of 0 means at once."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._due = clock()
        self.batch = max(1, min(64, int(rate) // 100)) if rate else 64
        """Packets to send between two looks at the clock: those of about 10 ms, 64 at most."""

    def spend(self, packets: int) -> None:
        """Count packets that have been sent."""
        if self.rate:
            self._due = max(self._due, self._clock() - SLACK) + packets / self.rate

    def pause(self) -> float:
        """Seconds until the next packet may be sent."""
        return max(0.0, self._due - self._clock()) if self.rate else 0.0
