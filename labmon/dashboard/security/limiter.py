"""A limit on guessing passwords: after some failures the next attempt has to wait, longer each time."""

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

PAIR_FREE = 5
"""Failures for one name from one address before there is any delay."""

ADDRESS_FREE = 25
"""The same for one address, whatever the names: a room of students may share one."""

ADDRESS_DELAY = 30.0
"""Seconds at most between two attempts from an address with many failures. Not more: the next one may be
somebody else's, who has never logged in from there."""

SUSPECT = 3
"""Failures for an address after which its attempts come behind those of others: see `turns`."""

NAME_FREE = 20
NAME_WINDOW = 900.0
NAME_DELAY = 3.0
"""Failures for one name, from all addresses together, after which each attempt takes NAME_DELAY seconds
longer, until the window has passed without one. Not more: the attempt may be the user's own."""

LONGEST_DELAY = 900.0
FORGET_AFTER = 3600.0
"""Seconds. A count that has been at rest for so long is forgotten."""

MOST_COUNTS = 20_000
"""Counts kept. More come only from an attack with many addresses, which then loses its oldest."""


_ANYWHERE = "*"


@dataclass
class _Count:
    attempts: int = 0
    next_at: float = 0.0
    changed_at: float = 0.0


class LoginLimiter:
    """Counts attempts by name and address, and by address alone. Threads share it.

    Who has logged in from an address before waits for nobody else's failures, there or under their name:
    only the count of that pair holds for them.

    In memory: one process serves the dashboard, the counts of a stranger should cost the database nothing,
    and who can restart the process needs no password. A restart gives an attacker five more guesses.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: OrderedDict[tuple[str | None, str], _Count] = OrderedDict()
        self._good: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, name: str, address: str) -> float:
        """Count an attempt, and return 0; or return the seconds until one is allowed, and count nothing.

        It counts before the password is compared: a hundred attempts at once are not all the first one.
        """
        now = self._clock()
        with self._lock:
            delay = self._delay(name, address, now)
            if delay > 0:
                return delay
            for count, free, longest in self._counted(name, address, now):
                count.attempts += 1
                count.changed_at = now
                if count.attempts >= free:
                    count.next_at = now + min(2.0 ** min(count.attempts - free, 30), longest)
            named = self._of_name(name, now)
            named.attempts += 1
            named.changed_at = now
            return 0.0

    def pause(self, name: str, address: str) -> float:
        """Seconds to wait before `begin`: 0, or `NAME_DELAY` for a name that is under attack."""
        now = self._clock()
        with self._lock:
            if (name, network(address)) in self._good or self._delay(name, address, now) > 0:
                return 0.0  # or it will be refused
            return NAME_DELAY if self._of_name(name, now).attempts >= NAME_FREE else 0.0

    def succeeded(self, name: str, address: str) -> None:
        """The attempt was no failure: forget those for the name, and uncount this one for the address."""
        with self._lock:
            pair = name, network(address)
            self._counts.pop(pair, None)
            shared = self._counts.get((None, network(address)))
            if shared and pair not in self._good:
                shared.attempts -= 1
                shared.next_at = 0.0  # it was over, or this attempt would not have begun
            self._good[pair] = None
            self._good.move_to_end(pair)
            while len(self._good) > MOST_COUNTS:
                self._good.popitem(last=False)
            if named := self._counts.get((name, _ANYWHERE)):
                named.attempts = max(0, named.attempts - 1)

    def place(self, name: str, address: str) -> tuple[str, bool]:
        """Whose turn an attempt takes, and whether it comes after others: see `turns`."""
        now, shared = self._clock(), network(address)
        with self._lock:
            if (name, shared) in self._good:
                return f"{name} {shared}", False
            return shared, self._count((None, shared), now).attempts >= SUSPECT

    def _delay(self, name: str, address: str, now: float) -> float:
        return max(count.next_at - now for count, *_ in self._counted(name, address, now))

    def _of_name(self, name: str, now: float) -> _Count:
        count = self._count((name, _ANYWHERE), now)
        if now - count.changed_at > NAME_WINDOW:
            count.attempts = 0
        return count

    def _counted(self, name: str, address: str, now: float) -> list[tuple[_Count, int, float]]:
        """The counts that hold for an attempt: how many are free of each, and its longest delay."""
        pair, shared = (name, network(address)), (None, network(address))
        counted = [(self._count(pair, now), PAIR_FREE, LONGEST_DELAY)]
        if pair not in self._good:
            counted.append((self._count(shared, now), ADDRESS_FREE, ADDRESS_DELAY))
        return counted

    def _count(self, key: tuple[str | None, str], now: float) -> _Count:
        count = self._counts.get(key)
        if count is None or now - count.changed_at > FORGET_AFTER:
            count = self._counts[key] = _Count(changed_at=now)
        self._counts.move_to_end(key)
        while len(self._counts) > MOST_COUNTS:
            self._counts.popitem(last=False)
        return count


def network(address: str) -> str:
    """An address, or the /64 of IPv6, all of which may be one machine's."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))
