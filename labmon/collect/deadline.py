"""Deadlines, and the one thread that enforces them."""

import heapq
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Self

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Deadline:
    """A moment on the monotonic clock by which something has to be over."""

    at: float
    seconds: float  #: as it was set

    @classmethod
    def after(cls, seconds: float) -> Self:
        return cls(time.monotonic() + seconds, seconds)

    @property
    def left(self) -> float:
        """Seconds; never negative, nor quite 0, which sockets take for "do not wait at all"."""
        return max(self.at - time.monotonic(), 0.001)

    @property
    def passed(self) -> bool:
        return time.monotonic() >= self.at


@dataclass
class _Watch:
    expire: Callable[[], float | None] | None = field(repr=False)


class Watchdog:
    """Calls `expire` for everything that is late. One daemon thread for all of it.

    A thread that waits in a library cannot be stopped from outside, only made to fail: `expire` has to take
    away what it waits for, without waiting for anything itself.
    """

    def __init__(self) -> None:
        self._queue: list[tuple[float, int, _Watch]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="labmon-watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def watch(self, deadline: Deadline, expire: Callable[[], float | None]) -> Iterator[None]:
        """Call `expire` from another thread if the block is still running at the deadline or when the
        watchdog is closed. When it returns a time, on the monotonic clock, it is called again then."""
        watch = _Watch(expire)
        with self._changed:
            closed = self._closed
            if not closed:
                first = not self._queue or deadline.at < self._queue[0][0]
                heapq.heappush(self._queue, (deadline.at, next(self._numbers), watch))
                if first:
                    self._changed.notify()
        if closed:
            expire()
        try:
            yield
        finally:
            watch.expire = None  # it stays in the queue until its time and then does nothing

    def close(self) -> None:
        """Make everything late: what is under way and what is still to come."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(1.0)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closed:
                    while self._queue and self._queue[0][2].expire is None:
                        heapq.heappop(self._queue)
                    wait = self._queue[0][0] - time.monotonic() if self._queue else None
                    if wait is not None and wait <= 0:
                        break
                    self._changed.wait(wait)
                closed = self._closed
                late = self._queue if closed else [heapq.heappop(self._queue)]
                if closed:
                    self._queue = []
            for _, _, watch in late:
                again = self._expire(watch)
                if again is not None and not closed:
                    with self._changed:
                        heapq.heappush(self._queue, (again, next(self._numbers), watch))
            if closed:
                return

    def _expire(self, watch: _Watch) -> float | None:
        expire = watch.expire
        if expire is None:
            return None
        try:
            return expire()
        except Exception:
            logger.exception("while ending something that was late")
            return None
