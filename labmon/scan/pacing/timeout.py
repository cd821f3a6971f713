"""How long to wait, judged by how long the answers took. No I/O."""

BETWEEN = 0.1
"""Seconds at least between two questions to the same address: a busy PC sometimes takes that long."""

AT_THE_END = 0.2
"""Seconds at least to wait after the last question."""

SLOWER = 3
"""A host that has not answered yet may be this many times slower than the slowest one that has."""


class AdaptiveTimeout:
    """Remembers the slowest answer and says how long to wait for the others."""

    def __init__(self, limit: float) -> None:
        """`limit`, in seconds, is the wait while no host has answered, and the longest one afterwards."""
        self.limit = limit
        self._slowest: float | None = None

    def observe(self, rtt: float | None) -> None:
        """Take an answer's seconds into account. A host may lie, but cannot push a wait past the limit."""
        if rtt is not None and rtt >= 0:
            self._slowest = max(self._slowest or 0.0, rtt)

    @property
    def between(self) -> float:
        """Seconds from one round to the next. An answer that comes later still counts in the next round."""
        return min(self._wait(BETWEEN), self.limit / 4)

    @property
    def at_the_end(self) -> float:
        """Seconds after the last question."""
        return self._wait(AT_THE_END)

    def _wait(self, floor: float) -> float:
        if self._slowest is None:
            return self.limit
        return min(self.limit, max(floor, SLOWER * self._slowest))
