"""One pass over many addresses: which have a machine, how it answered, and its name."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Literal

from labmon.config.tables import ScanConfig
from labmon.errors import PermissionNeeded, UsageError
from labmon.scan.enrich import HostEnricher
from labmon.scan.gateways import resolve_gateways
from labmon.scan.host import Host
from labmon.scan.kernel.links import neighbours, sort_targets
from labmon.scan.kernel.neighbour_table import wait_for_room
from labmon.scan.kernel.neighbours6 import neighbours6
from labmon.scan.late import LateAnswers
from labmon.scan.methods.context import SweepContext
from labmon.scan.methods.ping import Ping, PingSocket
from labmon.scan.methods.ping6 import Ping6, PingSocket6
from labmon.scan.methods.tcp import Tcp
from labmon.scan.on_link import OnLinkSweep
from labmon.scan.pacing.rate import TICK, RateLimiter
from labmon.scan.pacing.timeout import AdaptiveTimeout
from labmon.scan.permissions import how_to_grant
from labmon.scan.progress import Progress
from labmon.scan.targets.address import is_ipv6
from labmon.scan.targets.target_set import by_family

if TYPE_CHECKING:
    from labmon.scan.naming import HostNames

Method = Literal["auto", "arp", "ping", "tcp", "nmap"]


class Sweep:
    """Iterate it once: each host that answers comes once, complete, as soon as its name is settled.

    `arp`, `ping`, `tcp` and `nmap` use that method alone. `auto` uses what fits each address. On an Ethernet
    of this machine that is ARP, for IPv6 neighbour discovery: an address that does not answer it has no
    machine. IPv6 networks `on_link` are asked as a whole at first. Elsewhere it is ping, and TCP for
    addresses that stay silent, since a Windows firewall drops pings; but only for [scan] tcp_silent_max of
    them, so that a large and mostly empty network stays quick. `auto` also gets details of each host
    ([scan] details). Where this account may not send ARP, `auto` is ping and TCP; where it may not ping, TCP.

    Set `stop` from a signal handler or another thread: within 0.3 s the hosts found so far come out, with
    the names known by then, and the iteration ends. Closing the iterator early closes its sockets.

    Iterating raises PermissionNeeded when this account may not send `arp` or `ping`; UsageError when `tcp`
    has no ports, `arp` no target on a link, this machine no nmap, or `tcp` or `nmap` get a network `on_link`;
    LabmonError when nmap fails.
    """

    def __init__(
        self,
        targets: Sequence[str],
        settings: ScanConfig,
        *,
        method: Method = "auto",
        stop: Event | None = None,
        known: Sequence[str] = (),
    ) -> None:
        """`targets` are addresses, each once, as `targets.target_set.parse` makes them. `known` are machines
        in networks `on_link`, which are also asked by themselves."""
        self.progress = Progress()
        self.notes: list[str] = []
        """What the user should know about how it was done, a line each; complete after the last host."""
        self._targets = targets
        self._known = known
        self._on_link = getattr(targets, "on_link", ())
        self._settings = settings
        self._method = method
        self._stop = stop or Event()
        self._context = SweepContext(settings, self.progress, self._stop, RateLimiter(settings.rate))
        self._late = LateAnswers()
        self._sockets = ExitStack()
        self._link_sweep = OnLinkSweep(self._context, self._late, required=method == "arp")
        self._enricher: HostEnricher | None = None
        self._names: HostNames | None = None
        self._passed: set[str] = set()

    def __iter__(self) -> Iterator[Host]:
        with self._sockets as stack:
            stack.enter_context(self._link_sweep)
            if self._settings.names:
                from labmon.scan.naming import HostNames  # dnspython takes 0.1 s to import

                self._names = stack.enter_context(HostNames(self._settings.name_timeout))
            if self._method == "auto" and self._settings.details:
                self._enricher = stack.enter_context(HostEnricher(self._settings, self._context.limiter))
            for hosts in self._find():
                yield from self._pass_on(hosts)
                yield from self._pass_on(self._late.receive())
            yield from self._finish()
            yield from self._last_answers()
        if self._names and self._names.silent:
            self.notes.append("The DNS servers in /etc/resolv.conf did not answer, so names are missing.")
        self.notes += [*self.progress.refusals(), *self.progress.gaps]
        self.progress.start("done", 0)

    def _find(self) -> Iterator[list[Host]]:
        """Ask all targets by the methods that fit."""
        if self._on_link and self._method in ("tcp", "nmap"):
            raise UsageError(
                f"{self._on_link[0]}: --type {self._method} cannot find the machines of an IPv6 network; "
                "--type auto asks all at once"
            )
        if self._method != "arp":
            for _ in wait_for_room(self._stop):
                yield []
        if self._method == "tcp":
            yield from self._tcp(self._targets)
        elif self._method == "ping":
            yield from self._multicast()
            yield from self._ping(self._and_unasked(self._targets), AdaptiveTimeout(self._settings.timeout))
        elif self._method == "nmap":
            from labmon.scan.methods.nmap import Nmap

            for targets in filter(None, by_family(self._targets)):
                yield from Nmap(targets, self._context)
        else:
            yield from self._on_and_off_link()

    def _on_and_off_link(self) -> Iterator[list[Host]]:
        """The methods `arp` and `auto`."""
        yield from self._multicast()
        rest = yield from self._link_sweep.each(sort_targets(self._targets))
        rest = self._and_unasked(rest)
        self.notes += self._link_sweep.notes
        if self._method == "auto":
            pinged = yield from self._off_link(rest)
            if pinged and not self._link_sweep.permitted:
                self.notes.append(
                    "This account may not send ARP, so machines that drop pings and connections may be "
                    f"missing. To allow it: {how_to_grant('ARP')}"
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
        """With addresses known to be on a link that were not asked there by themselves."""
        left = [one for one in dict.fromkeys(self._link_sweep.unasked) if one not in targets]
        return [*targets, *left] if left else targets

    def _multicast(self) -> Iterator[list[Host]]:
        """The hosts of networks that are asked as a whole."""
        if not self._on_link:
            return
        try:
            solicit = self._method != "ping"
            yield from self._link_sweep.multicast(self._on_link, self._known, solicit=solicit)
        except PermissionNeeded as error:
            if not self._targets or self._method != "auto":
                raise
            self.notes.append(f"{', '.join(map(str, self._on_link))} was not asked: {error}")

    def _off_link(self, targets: Sequence[str]) -> Generator[list[Host], None, bool]:
        """Ping these, and ask the silent ones by TCP. Returns whether this account may ping."""
        if not targets or self._stop.is_set():
            return True
        answered: set[str] = set()
        timeout = AdaptiveTimeout(self._settings.timeout)
        try:
            for hosts in self._ping(targets, timeout):
                answered.update(host.address for host in hosts)
                yield hosts
        except PermissionNeeded:
            if not self._settings.tcp_ports:
                raise
            self.notes.append(
                f"This account may not ping, so hosts were asked by TCP alone (ports {self._ports()}). "
                f"To allow ping: {how_to_grant()}"
            )
            yield from self._tcp(targets)
            return False
        if self._settings.tcp_ports and not self._stop.is_set():
            silent, most = len(targets) - len(answered), self._settings.tcp_silent_max
            if silent <= most:
                left = [address for address in targets if address not in answered]
                yield from self._tcp(left, timeout)
            elif most:
                self.notes.append(
                    f"{silent:,} addresses did not answer a ping and were not asked by TCP, since they are "
                    f"more than [scan] tcp_silent_max = {most:,}; --type tcp asks them"
                )
        return True

    def _ping(self, targets: Sequence[str], timeout: AdaptiveTimeout) -> Iterator[list[Host]]:
        """Raises PermissionNeeded before anything was sent."""
        for some, open_socket, method in zip(
            by_family(targets), (PingSocket, PingSocket6), (Ping, Ping6), strict=True
        ):
            if not some or self._stop.is_set():
                continue
            sock = self._sockets.enter_context(open_socket())
            yield from resolve_gateways(some, sock, self._stop)
            sweep = method(sock, some, self._context, timeout)
            yield from sweep
            self._late.add(sweep)

    def _tcp(self, addresses: Sequence[str], timeout: AdaptiveTimeout | None = None) -> Iterator[list[Host]]:
        if addresses:
            yield from Tcp(addresses, self._context, timeout)

    def _pass_on(self, hosts: list[Host]) -> Iterator[Host]:
        """Give new hosts their MACs, start on details and names, and hand out those that are complete."""
        hosts = [host for host in hosts if host.address not in self._passed]
        self._passed.update(host.address for host in hosts)
        hosts = self._with_macs(hosts)
        if self._enricher is not None:
            for host in hosts:
                self._enricher.add(host)
            hosts = self._enricher.collect() if self._enricher.pending else []
        yield from self._named(hosts)

    @staticmethod
    def _with_macs(hosts: list[Host]) -> list[Host]:
        """Add MACs that the kernel has learnt by its own questions. It has none behind a router."""
        if all(host.mac for host in hosts):
            return hosts
        known = neighbours()
        if any(is_ipv6(host.address) for host in hosts):
            known |= neighbours6()
        return [host if host.mac else replace(host, mac=known.get(host.address)) for host in hosts]

    def _named(self, hosts: list[Host]) -> Iterator[Host]:
        """Start looking up the names of these, and hand out hosts whose lookup has ended."""
        if self._names is None:
            yield from hosts
            return
        for host in hosts:
            if host.hostname:
                yield host
            else:
                self._names.add(host)
        yield from self._names.collect()

    def _finish(self) -> Iterator[Host]:
        """Wait for the details and names that are still missing, of late hosts too."""
        while True:
            yield from self._last_details()
            yield from self._last_names()
            if self._enricher is None or not self._enricher.pending:
                return

    def _last_details(self) -> Iterator[Host]:
        if self._enricher is None:
            return
        for _ in self._until_done("details", self._enricher):
            yield from self._named(self._enricher.collect(0.01))
            yield from self._pass_on(self._late.receive())
        yield from self._named(self._enricher.give_up())

    def _last_names(self) -> Iterator[Host]:
        if self._names is None:
            return
        for _ in self._until_done("names", self._names):
            self._names.wait()
            yield from self._pass_on(self._late.receive())
            yield from self._named([])
        yield from self._named([])
        yield from self._names.give_up()

    def _until_done(self, phase: str, work: "HostEnricher | HostNames") -> Iterator[None]:
        """Once for each look at what is pending, with the progress after each."""
        total = work.pending
        self.progress.start(phase, total)
        while work.pending and not self._stop.is_set():
            yield
            self.progress.asked = max(0, total - work.pending)

    def _last_answers(self) -> Iterator[Host]:
        """Wait for slow hosts until each has had the whole timeout."""
        while (left := self._late.left) > 0 and not self._stop.is_set():
            time.sleep(min(left, TICK / 5))
            if hosts := self._late.receive():
                yield from self._pass_on(hosts)
                yield from self._finish()

    def _ports(self) -> str:
        return ", ".join(map(str, self._settings.tcp_ports))
