"""One pass over many addresses: who is there, how it was seen, and what it is called."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Literal

from labmon.config import Scan
from labmon.errors import PermissionNeeded, UsageError
from labmon.scan.address import is_ipv6
from labmon.scan.closer import Closer
from labmon.scan.grant import how_to_grant
from labmon.scan.host import Host
from labmon.scan.icmp import Ping, PingSocket
from labmon.scan.icmp6 import Ping6, PingSocket6
from labmon.scan.links import neighbours, sort_targets
from labmon.scan.neighbours6 import neighbours6
from labmon.scan.own_links import OwnLinks
from labmon.scan.pace import TICK, Pace
from labmon.scan.progress import Progress
from labmon.scan.routers import meet
from labmon.scan.targets import by_family
from labmon.scan.tcp import Tcp
from labmon.scan.timing import Patience

if TYPE_CHECKING:
    from labmon.scan.local_names import LocalNames
    from labmon.scan.names import Names

DNS_SHARE = 0.7
"""Of the time for names; the rest is for asking the hosts themselves when the DNS says nothing."""

Method = Literal["auto", "arp", "ping", "tcp", "nmap"]


class Sweep:
    """Iterate it once: each host that answers comes once, complete, as soon as its name is settled.

    `arp`, `ping`, `tcp` and `nmap` do as they say. `auto` uses what fits each address. On an Ethernet that
    this machine is on, ARP, for IPv6 neighbour discovery: who gives no answer to that is not there. IPv6
    networks `on_link` are asked as a whole at first. Elsewhere ping, and TCP for those that
    stay silent, since a Windows firewall drops pings; but only `[scan] tcp_silent_max` of them, so that a
    large and mostly empty network stays quick. Whoever `auto` finds is looked at closer (`[scan] details`).
    Where this account may not send ARP, `auto` is ping and TCP; where it may not ping, TCP alone.

    Set `stop` from a signal handler or another thread: within 0.3 s the hosts found so far come out, with
    the names known by then, and the iteration ends. Closing the iterator early closes its sockets.

    Iterating raises PermissionNeeded when `arp` or `ping` may not be done, UsageError when `tcp` has no
    ports, `arp` no target on a link, the machine no nmap, or `tcp` and `nmap` a network `on_link`, and
    LabmonError when nmap fails.
    """

    def __init__(
        self,
        targets: Sequence[str],
        settings: Scan,
        *,
        method: Method = "auto",
        stop: Event | None = None,
        known: Sequence[str] = (),
    ) -> None:
        """`targets` are addresses, each once: `labmon.scan.targets.parse` makes them. `known` are machines
        in networks `on_link`, which are asked by themselves too."""
        self.progress = Progress()
        self.notes: list[str] = []
        """What the user should know about how it was done, a line each; complete after the last host."""
        self._targets = targets
        self._known = known
        self._on_link = getattr(targets, "on_link", ())
        self._settings = settings
        self._method = method
        self._stop = stop or Event()
        self._pace = Pace(settings.rate)
        self._closer: Closer | None = None
        self._own_links = OwnLinks(settings, self.progress, self._stop, self._pace, required=method == "arp")
        self._names: Names | None = None
        self._local_names: LocalNames | None = None
        self._nameless: dict[str, Host] = {}  # found, with the name still to come
        self._name_by: dict[str, float] = {}  # and until when, by the monotonic clock

    def __iter__(self) -> Iterator[Host]:
        with ExitStack() as stack:
            if self._settings.names:
                from labmon.scan.local_names import LocalNames
                from labmon.scan.names import Names  # dnspython takes 0.1 s to import

                limit = self._settings.name_timeout
                self._names = stack.enter_context(Names.of_this_machine(limit * DNS_SHARE))
                self._local_names = stack.enter_context(LocalNames())
            if self._method == "auto" and self._settings.details:
                self._closer = stack.enter_context(Closer(self._settings, self._pace))
            for hosts in self._find():
                yield from self._named(self._looked(self._with_macs(hosts)))
            yield from self._last_looks()
            yield from self._last_names()
        self.notes += self.progress.refusals()
        self.progress.start("done", 0)

    def _find(self) -> Iterator[list[Host]]:
        if self._on_link and self._method in ("tcp", "nmap"):
            raise UsageError(
                f"{self._on_link[0]}: --type {self._method} cannot find out who is in an IPv6 network; "
                "--type auto asks all at once"
            )
        if self._method == "tcp":
            yield from self._tcp(self._targets)
        elif self._method == "ping":
            yield from self._everybody()
            yield from self._ping(self._and_unasked(self._targets), Patience(self._settings.timeout))
        elif self._method == "nmap":
            from labmon.scan.nmap import Nmap

            for targets in filter(None, by_family(self._targets)):
                yield from Nmap(targets, self._settings, self.progress, self._stop)
        else:
            yield from self._everybody()
            rest = yield from self._own_links.each(sort_targets(self._targets))
            rest = self._and_unasked(rest)
            self.notes += self._own_links.notes
            if self._method == "auto":
                pinged = yield from self._off_link(rest)
                if pinged and not self._own_links.permitted:
                    self.notes.append(
                        "This account may not send ARP, so machines that drop pings and connections may be "
                        f"missing; what would add it: {how_to_grant('ARP')}"
                    )
            elif rest and len(rest) == len(self._targets) and not self._on_link:
                raise UsageError(
                    "--type arp: none of these addresses is on an Ethernet of this machine, "
                    "and ARP does not pass a router; --type ping does"
                )
            elif rest:
                self.notes.append(
                    f"{len(rest):,} addresses, such as {rest[0]}, are not on an Ethernet of this machine "
                    "and were not asked; --type auto pings them"
                )

    def _and_unasked(self, targets: Sequence[str]) -> Sequence[str]:
        """With those known to be on a link whom nothing there has asked by themselves."""
        left = [one for one in dict.fromkeys(self._own_links.unasked) if one not in targets]
        return [*targets, *left] if left else targets

    def _everybody(self) -> Iterator[list[Host]]:
        """Who is in the networks that are asked as a whole."""
        if not self._on_link:
            return
        try:
            yield from self._own_links.everybody(self._on_link, self._known, solicit=self._method != "ping")
        except PermissionNeeded as error:
            if not self._targets or self._method != "auto":
                raise
            self.notes.append(f"{', '.join(map(str, self._on_link))} was not asked: {error}")

    def _off_link(self, targets: Sequence[str]) -> Generator[list[Host], None, bool]:
        """Ping these, and ask the silent ones by TCP. Returns whether this account may ping."""
        if not targets or self._stop.is_set():
            return True
        answered: set[str] = set()
        patience = Patience(self._settings.timeout)
        try:
            for hosts in self._ping(targets, patience):
                answered.update(host.address for host in hosts)
                yield hosts
        except PermissionNeeded:
            if not self._settings.tcp_ports:
                raise
            self.notes.append(
                f"This account may not ping, so hosts were asked by TCP alone (ports {self._ports()}); "
                f"what would add ping: {how_to_grant()}"
            )
            yield from self._tcp(targets)
            return False
        if self._settings.tcp_ports and not self._stop.is_set():
            silent, most = len(targets) - len(answered), self._settings.tcp_silent_max
            if silent <= most:
                left = [address for address in targets if address not in answered]
                yield from self._tcp(left, patience)
            elif most:
                self.notes.append(
                    f"{silent:,} addresses did not answer a ping and were not asked by TCP, since they are "
                    f"more than [scan] tcp_silent_max = {most:,}; --type tcp asks them"
                )
        return True

    def _ping(self, targets: Sequence[str], patience: Patience) -> Iterator[list[Host]]:
        """Raises PermissionNeeded before anything was sent."""
        ipv4, ipv6 = by_family(targets)
        if ipv4:
            with PingSocket() as sock:
                yield from meet(ipv4, sock, self._stop)
                yield from Ping(
                    sock, ipv4, self._settings, self.progress, self._stop, pace=self._pace, patience=patience
                )
        if ipv6 and not self._stop.is_set():
            with PingSocket6() as sock:
                yield from meet(ipv6, sock, self._stop)
                yield from Ping6(
                    sock, ipv6, self._settings, self.progress, self._stop, pace=self._pace, patience=patience
                )

    def _tcp(self, addresses: Sequence[str], patience: Patience | None = None) -> Iterator[list[Host]]:
        if addresses:
            yield from Tcp(
                addresses, self._settings, self.progress, self._stop, pace=self._pace, patience=patience
            )

    @staticmethod
    def _with_macs(hosts: list[Host]) -> list[Host]:
        """Add what the kernel has learnt by asking for itself. It has nothing on hosts behind a router."""
        if all(host.mac for host in hosts):
            return hosts
        known = neighbours()
        if any(is_ipv6(host.address) for host in hosts):
            known |= neighbours6()
        return [host if host.mac else replace(host, mac=known.get(host.address)) for host in hosts]

    def _looked(self, hosts: list[Host]) -> list[Host]:
        """Start looking closer at these, and give those that were looked at."""
        if self._closer is None:
            return hosts
        for host in hosts:
            self._closer.ask(host)
        return self._closer.collect() if self._closer.pending else []

    def _last_looks(self) -> Iterator[Host]:
        if self._closer is None:
            return
        total = self._closer.pending
        self.progress.start("details", total)
        while self._closer.pending and not self._stop.is_set():
            yield from self._named(self._closer.collect(0.01))
            self.progress.asked = total - self._closer.pending
        yield from self._named(self._closer.give_up())

    def _ports(self) -> str:
        return ", ".join(map(str, self._settings.tcp_ports))

    def _named(self, hosts: list[Host]) -> Iterator[Host]:
        """Start looking up these, and hand out whose lookup has ended."""
        if self._names is None:
            yield from hosts
            return
        for host in hosts:
            if host.hostname:
                yield host
                continue
            self._nameless[host.address] = host
            self._name_by[host.address] = time.monotonic() + self._settings.name_timeout
            self._names.ask(host.address)
        if self._nameless:
            yield from self._settled()

    def _settled(self) -> Iterator[Host]:
        """Hosts whose name is known by now, or known to be missing."""
        assert self._names and self._local_names
        for address, name in self._names.collect():
            # With a MAC it is on our link, and can be asked what it calls itself.
            if name is None and self._nameless[address].mac:
                self._local_names.ask(address, self._name_by[address])
            else:
                yield replace(self._nameless.pop(address), hostname=name)
        for address, name in self._local_names.collect():
            yield replace(self._nameless.pop(address), hostname=name)

    def _last_names(self) -> Iterator[Host]:
        if self._names is None or self._local_names is None:
            return
        total = len(self._nameless)
        self.progress.start("names", total)
        while self._nameless and not self._stop.is_set():
            if self._names.pending:
                self._names.wait(TICK / 4 if self._local_names.pending else TICK)
            elif self._local_names.pending:
                self._local_names.wait(TICK)
            yield from self._named([])
            self.progress.asked = total - len(self._nameless)
        yield from self._named([])
        yield from self._nameless.values()
        self._nameless.clear()
        if self._names.silent:
            self.notes.append("The DNS servers in /etc/resolv.conf did not answer, so names are missing.")
