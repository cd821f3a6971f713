"""Packets per second."""

import time
from collections.abc import Callable

TICK = 0.1
"""Seconds at most that anything here waits without a look at `stop`."""

SLACK = 0.05
"""Seconds of lateness that may be made up for. More would turn a pause into a burst."""


class Pace:
    """Says when the next packets may go. A rate of 0 is: at once."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._due = clock()
        self.batch = max(1, min(64, rate // 100)) if rate else 64
        """Packets to send between two looks at the clock: about 10 ms worth, 64 at most."""

    def spend(self, packets: int) -> None:
        """Book packets that have gone out."""
        if self._rate:
            self._due = max(self._due, self._clock() - SLACK) + packets / self._rate

    def pause(self) -> float:
        """Seconds until the next packet may go."""
        return max(0.0, self._due - self._clock()) if self._rate else 0.0
