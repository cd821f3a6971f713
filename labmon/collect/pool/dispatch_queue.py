"""Which machine is next: in the order in which they are due, with a few logins per subnet at a time."""

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


class DispatchQueue(Generic[M]):
    """A queue between threads, first in, first out; but a full subnet holds up no machine of another.

    What `take` has handed out is logging in until `logged_in` is called with it, and no more than
    `per_subnet` (0: any number) of one subnet are. This spares what is between: a firewall that counts new
    connections, a bastion's MaxStartups. A machine's own sshd sees one connection of ours only.
    """

    def __init__(self, per_subnet: int) -> None:
        self._limit = per_subnet
        self._changed = threading.Condition()
        self._later: list[tuple[float, int, M]] = []
        self._numbers = count()
        self._ready: dict[str, deque[tuple[int, M]]] = {}  # by subnet
        self._turns: list[tuple[int, str]] = []  # subnets with room, by the number of their first machine
        self._logging_in: Counter[str] = Counter()
        self._has_timer = False  # a thread waits for the time at which the next one is due
        self._closed = False

    def put(self, machine: M, due: float = 0.0) -> None:
        """`due` on the monotonic clock."""
        with self._changed:
            if due <= time.monotonic():
                self._enqueue(machine)
                self._changed.notify()
            else:
                heapq.heappush(self._later, (due, next(self._numbers), machine))
                if self._later[0][2] is machine:
                    self._changed.notify_all()  # the thread that waits for the time has to wait less

    def take(self) -> M | None:
        """The next machine, waiting for one. None when closed."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                while self._later and self._later[0][0] <= now:
                    self._enqueue(heapq.heappop(self._later)[2])
                if self._turns:
                    machine = self._next()
                    if self._turns or self._later:
                        self._changed.notify()
                    return machine
                if self._has_timer or not self._later:
                    self._changed.wait()
                else:
                    self._has_timer = True
                    try:
                        self._changed.wait(self._later[0][0] - now)
                    finally:
                        self._has_timer = False
            return None

    def logged_in(self, machine: M) -> None:
        """The login has ended: logged in, failed, or past the time for which it counts."""
        with self._changed:
            subnet = machine.subnet
            full = self._is_full(subnet)
            self._logging_in[subnet] -= 1
            if not self._logging_in[subnet]:
                del self._logging_in[subnet]
            if full and subnet in self._ready:
                self._add_turn(subnet)
                self._changed.notify()

    def close(self) -> None:
        """Hand out nothing any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_full(self, subnet: str) -> bool:
        return 0 < self._limit <= self._logging_in[subnet]

    def _enqueue(self, machine: M) -> None:
        subnet = machine.subnet
        if subnet not in self._ready:
            self._ready[subnet] = deque()
        self._ready[subnet].append((next(self._numbers), machine))
        if len(self._ready[subnet]) == 1 and not self._is_full(subnet):
            self._add_turn(subnet)

    def _add_turn(self, subnet: str) -> None:
        heapq.heappush(self._turns, (self._ready[subnet][0][0], subnet))

    def _next(self) -> M:
        _, subnet = heapq.heappop(self._turns)
        machines = self._ready[subnet]
        _, machine = machines.popleft()
        self._logging_in[subnet] += 1
        if not machines:
            del self._ready[subnet]
        elif not self._is_full(subnet):
            self._add_turn(subnet)
        return machine
