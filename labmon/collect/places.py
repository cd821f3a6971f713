"""Whose turn it is: machines in the order in which they are due, a few logins per subnet at a time."""

import heapq
import threading
import time
from collections import Counter, deque
from itertools import count
from typing import Generic, Protocol, TypeVar


class Neighbour(Protocol):
    """A machine that shares its subnet's switch, firewall or bastion with others."""

    @property
    def subnet(self) -> str:
        """Any name."""


M = TypeVar("M", bound=Neighbour)


class Places(Generic[M]):
    """A queue between threads, first come, first served; but nobody waits for another's full subnet.

    What `take` has handed out is logging in until `logged_in` is called with it, and no more than
    `per_subnet` (0: any number) of one subnet are at that. This spares what is between: a firewall that
    counts new connections, a bastion's MaxStartups. A machine's own sshd sees one of us only.
    """

    def __init__(self, per_subnet: int) -> None:
        self._most = per_subnet
        self._changed = threading.Condition()
        self._later: list[tuple[float, int, M]] = []
        self._numbers = count()
        self._lines: dict[str, deque[tuple[int, M]]] = {}
        self._turns: list[tuple[int, str]] = []  # subnets with room, by the number of the first in line
        self._logging_in: Counter[str] = Counter()
        self._somebody_watches = False  # the time at which the next one is due
        self._closed = False

    def put(self, machine: M, due: float = 0.0) -> None:
        """`due` on the monotonic clock."""
        with self._changed:
            if due <= time.monotonic():
                self._line_up(machine)
                self._changed.notify()
            else:
                heapq.heappush(self._later, (due, next(self._numbers), machine))
                if self._later[0][2] is machine:
                    self._changed.notify_all()  # whoever watches the time has to look again

    def take(self) -> M | None:
        """The next machine, waiting for one. None when closed."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                while self._later and self._later[0][0] <= now:
                    self._line_up(heapq.heappop(self._later)[2])
                if self._turns:
                    machine = self._next()
                    if self._turns or self._later:
                        self._changed.notify()
                    return machine
                if self._somebody_watches or not self._later:
                    self._changed.wait()
                else:
                    self._somebody_watches = True
                    try:
                        self._changed.wait(self._later[0][0] - now)
                    finally:
                        self._somebody_watches = False
            return None

    def logged_in(self, machine: M) -> None:
        """It is in, has failed, or takes so long that it counts no more."""
        with self._changed:
            subnet = machine.subnet
            full = self._is_full(subnet)
            self._logging_in[subnet] -= 1
            if not self._logging_in[subnet]:
                del self._logging_in[subnet]
            if full and subnet in self._lines:
                self._take_turns(subnet)
                self._changed.notify()

    def close(self) -> None:
        """Nobody gets anything any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_full(self, subnet: str) -> bool:
        return 0 < self._most <= self._logging_in[subnet]

    def _line_up(self, machine: M) -> None:
        subnet = machine.subnet
        if subnet not in self._lines:
            self._lines[subnet] = deque()
        self._lines[subnet].append((next(self._numbers), machine))
        if len(self._lines[subnet]) == 1 and not self._is_full(subnet):
            self._take_turns(subnet)

    def _take_turns(self, subnet: str) -> None:
        heapq.heappush(self._turns, (self._lines[subnet][0][0], subnet))

    def _next(self) -> M:
        _, subnet = heapq.heappop(self._turns)
        line = self._lines[subnet]
        _, machine = line.popleft()
        self._logging_in[subnet] += 1
        if not line:
            del self._lines[subnet]
        elif not self._is_full(subnet):
            self._take_turns(subnet)
        return machine
