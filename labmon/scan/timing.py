"""How long to wait, judged by how long the answers took. No I/O."""

BETWEEN = 0.1
"""Seconds at least between two questions to the same address: a busy PC takes that long now and then."""

AT_THE_END = 0.2
"""Seconds at least for the last answers, which nobody hears who comes later."""

SLOWER = 3
"""A host not heard from yet may be this many times slower than the slowest one that was."""


class Patience:
    """Remembers the slowest answer and says how long the others are waited for."""

    def __init__(self, cap: float) -> None:
        """`cap` is the wait while nobody has answered, and the longest one afterwards."""
        self._cap = cap
        self._slowest: float | None = None

    def observe(self, rtt: float | None) -> None:
        """Take an answer into account. A host may lie about it, but cannot push a wait past the cap."""
        if rtt is not None and rtt >= 0:
            self._slowest = max(self._slowest or 0.0, rtt)

    @property
    def between(self) -> float:
        """Seconds from one round to the next: an answer that comes later is still heard in that one."""
        return min(self._wait(BETWEEN), self._cap / 4)

    @property
    def at_the_end(self) -> float:
        """Seconds after the last question."""
        return self._wait(AT_THE_END)

    def _wait(self, floor: float) -> float:
        if self._slowest is None:
            return self._cap
        return min(self._cap, max(floor, SLOWER * self._slowest))
