"""Names for the hosts of a sweep, looked up while it goes on."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from labmon.closing import Closing
from labmon.scan.host import Host
from labmon.scan.names.local_names import LocalNames
from labmon.scan.names.resolve import Names
from labmon.scan.pacing.rate import TICK

DNS_SHARE = 0.7
"""Of the time for a name; the rest is for asking the host itself when the DNS has none."""


class HostNames(Closing):
    """`add` hosts, then `collect` now and then: each comes back once, with its name or without.

    Each takes `limit` seconds at most. A host on the same link is asked itself when the DNS has no name.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._stack = ExitStack()
        self._dns = self._stack.enter_context(Names.of_this_machine(limit * DNS_SHARE))
        self._local = self._stack.enter_context(LocalNames())
        self._hosts: dict[str, Host] = {}
        self._deadlines: dict[str, float] = {}  # by the monotonic clock

    @property
    def pending(self) -> int:
        """How many hosts are added and not handed out yet."""
        return len(self._hosts)

    @property
    def silent(self) -> bool:
        """Whether the DNS servers were given up because they never answered."""
        return self._dns.silent

    def add(self, host: Host) -> None:
        """Look up its name."""
        self._hosts[host.address] = host
        self._deadlines[host.address] = time.monotonic() + self._limit
        self._dns.ask(host.address)

    def collect(self) -> Iterator[Host]:
        """Hosts whose lookup has ended. Does not wait."""
        if not self._hosts:
            return
        for address, name in self._dns.collect():
            # A host with a MAC is on our link, and can be asked itself.
            if name is None and self._hosts[address].mac:
                self._local.ask(address, self._deadlines[address])
            else:
                yield replace(self._hosts.pop(address), hostname=name)
        for address, name in self._local.collect():
            yield replace(self._hosts.pop(address), hostname=name)

    def wait(self) -> None:
        """Return when `collect` has something to do, or after a moment."""
        if self._dns.pending:
            self._dns.wait(TICK / 4 if self._local.pending else TICK)
        elif self._local.pending:
            self._local.wait(TICK)

    def give_up(self) -> list[Host]:
        """The hosts that are left, without names."""
        left = list(self._hosts.values())
        self._hosts.clear()
        return left

    def close(self) -> None:
        self._stack.close()
