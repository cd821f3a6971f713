"""A limit on requests of those who have not logged in: so many a minute from one address."""

import threading
import time
from collections.abc import Callable

MOST_ADDRESSES = 20_000
"""Counted at a time. More come only from an attack; then all are counted from 0 again."""


class RateLimiter:
    """Counts requests of each address in whole minutes. Threads share it."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._minute = 0
        self._counts: dict[str, int] = {}
        self._lock = threading.Lock()

    def wait(self, address: str) -> int:
        """Count a request. Returns 0, or the seconds until the next one is allowed."""
        now = self._clock()
        with self._lock:
            if (minute := int(now // 60)) != self._minute or len(self._counts) >= MOST_ADDRESSES:
                self._minute = minute
                self._counts.clear()
            count = self._counts[address] = self._counts.get(address, 0) + 1
        return 0 if count <= self._per_minute else max(1, round((minute + 1) * 60 - now))
