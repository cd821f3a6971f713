"""One pass over many addresses: who is there, how it was seen, and what it is called."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Literal

from labmon.config import Scan
from labmon.errors import PermissionNeeded
from labmon.scan.host import Host
from labmon.scan.icmp import Ping, PingSocket, how_to_grant
from labmon.scan.pace import TICK
from labmon.scan.progress import Progress
from labmon.scan.tcp import Tcp

if TYPE_CHECKING:
    from labmon.scan.names import Names

Method = Literal["auto", "ping", "tcp"]


class Sweep:
    """Iterate it once: each host that answers comes once, complete, as soon as its name is settled.

    `ping` and `tcp` do as they say. `auto` pings where this account may, and asks those that stay silent by
    TCP, since a Windows firewall drops pings; but only `[scan] tcp_silent_max` of them, so that a large and
    mostly empty network stays quick. Where this account may not ping, `auto` is TCP alone.

    Set `stop` from a signal handler or another thread: within 0.3 s the hosts found so far come out, with
    the names known by then, and the iteration ends. Closing the iterator early closes its sockets.

    Iterating raises PermissionNeeded when `ping` may not be done, and UsageError when `tcp` has no ports.
    """

    def __init__(
        self,
        targets: Sequence[str],
        settings: Scan,
        *,
        method: Method = "auto",
        stop: Event | None = None,
    ) -> None:
        """`targets` are IPv4 addresses, each once: `labmon.scan.targets.parse` makes them."""
        self.progress = Progress()
        self.notes: list[str] = []
        """What the user should know about how it was done, a line each; complete after the last host."""
        self._targets = targets
        self._settings = settings
        self._method = method
        self._stop = stop or Event()
        self._names: Names | None = None
        self._nameless: dict[str, Host] = {}  # found, with the name still to come

    def __iter__(self) -> Iterator[Host]:
        with ExitStack() as stack:
            if self._settings.names:
                from labmon.scan.names import Names  # dnspython takes 0.1 s to import

                self._names = stack.enter_context(Names.of_this_machine(self._settings.name_timeout))
            for hosts in self._find():
                yield from self._named(hosts)
            yield from self._last_names()
        self.notes += self.progress.refusals()
        self.progress.start("done", 0)

    def _find(self) -> Iterator[list[Host]]:
        if self._method == "tcp":
            yield from self._tcp(self._targets)
            return
        try:
            sock = PingSocket()
        except PermissionNeeded:
            if self._method == "ping" or not self._settings.tcp_ports:
                raise
            self.notes.append(
                f"This account may not ping, so hosts were asked by TCP alone (ports {self._ports()}); "
                f"what would add ping: {how_to_grant()}"
            )
            yield from self._tcp(self._targets)
            return
        answered: set[str] = set()
        with sock:
            for hosts in Ping(sock, self._targets, self._settings, self.progress, self._stop):
                answered.update(host.address for host in hosts)
                yield hosts
        if self._method == "auto" and self._settings.tcp_ports and not self._stop.is_set():
            silent, most = len(self._targets) - len(answered), self._settings.tcp_silent_max
            if silent <= most:
                yield from self._tcp([address for address in self._targets if address not in answered])
            elif most:
                self.notes.append(
                    f"{silent:,} addresses did not answer a ping and were not asked by TCP, since they are "
                    f"more than [scan] tcp_silent_max = {most:,}; --type tcp asks them"
                )

    def _tcp(self, addresses: Sequence[str]) -> Iterator[list[Host]]:
        yield from Tcp(addresses, self._settings, self.progress, self._stop)

    def _ports(self) -> str:
        return ", ".join(map(str, self._settings.tcp_ports))

    def _named(self, hosts: list[Host]) -> Iterator[Host]:
        """Start looking up these, and hand out whose lookup has ended."""
        if self._names is None:
            yield from hosts
            return
        for host in hosts:
            self._nameless[host.address] = host
            self._names.ask(host.address)
        if self._nameless:
            for address, name in self._names.collect():
                yield replace(self._nameless.pop(address), hostname=name)

    def _last_names(self) -> Iterator[Host]:
        if self._names is None:
            return
        total = len(self._nameless)
        self.progress.start("names", total)
        while self._names.pending and not self._stop.is_set():
            self._names.wait(TICK)
            yield from self._named([])
            self.progress.asked = total - len(self._nameless)
        yield from self._named([])
        yield from self._nameless.values()
        self._nameless.clear()
        if self._names.silent:
            self.notes.append("The DNS servers in /etc/resolv.conf did not answer, so names are missing.")
