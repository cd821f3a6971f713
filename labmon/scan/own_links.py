"""What shares an Ethernet with this machine: asked by ARP, by neighbour discovery, and all at once."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from threading import Event

from labmon.config import Scan
from labmon.errors import PermissionNeeded
from labmon.messages import utcnow
from labmon.scan import links6
from labmon.scan.address import is_ipv6
from labmon.scan.everybody import Everybody
from labmon.scan.host import Host
from labmon.scan.links import Shared
from labmon.scan.neighbours6 import neighbours6
from labmon.scan.pace import Pace
from labmon.scan.progress import Progress
from labmon.scan.targets import OnLink


class OwnLinks:
    """The part of a sweep that no router sees.

    Its generators yield hosts as they answer. Where this account may not send whole frames, `permitted`
    becomes False and others have to ask; with `required` that is PermissionNeeded.
    """

    def __init__(
        self, settings: Scan, progress: Progress, stop: Event, pace: Pace, *, required: bool = False
    ) -> None:
        self.permitted = True
        self.notes: list[str] = []
        """What the user should know, a line each."""
        self.unasked: list[str] = []
        """Who is known to `everybody`'s caller or the kernel, or this machine itself, and was not asked."""
        self._settings = settings
        self._progress = progress
        self._stop = stop
        self._pace = pace
        self._required = required

    def each(self, shared: Shared) -> Generator[list[Host], None, Sequence[str]]:
        """Ask each address on a link, and return the targets that this is no way to ask."""
        rest: list[str] = []
        for device, addresses in sorted(shared.links.items()):
            own = shared.own.pop(device, [])
            for ipv6 in (False, True):
                ours, theirs = ([one for one in some if is_ipv6(one) is ipv6] for some in (own, addresses))
                if theirs:
                    rest += yield from self._ask(device, theirs, ours)
                else:
                    rest += ours
        rest += [address for own in shared.own.values() for address in own]
        return [*rest, *shared.others] if rest else shared.others

    def _ask(
        self, device: str, addresses: Sequence[str], own: Sequence[str]
    ) -> Generator[list[Host], None, list[str]]:
        """Ask addresses of one family on one link; return them all when there is no way to."""
        from labmon.scan.arp import Arp, ArpSocket  # scapy takes 0.2 s to import
        from labmon.scan.link_socket import NoEthernet
        from labmon.scan.ndp import Ndp, NdpSocket

        one = (*addresses, *own)[0]
        kinds = (NdpSocket, Ndp) if is_ipv6(one) else (ArpSocket, Arp)
        try:
            sock = kinds[0](device, one)
        except NoEthernet:
            return [*own, *addresses]
        except PermissionNeeded:
            if self._required:
                raise
            self.permitted = False
            return [*own, *addresses]
        with sock:
            now = utcnow()
            self._progress.found += len(own)
            yield [Host(address, kinds[1].phase, now, mac=sock.mac) for address in own]
            sweep = kinds[1](sock, addresses, self._settings, self._progress, self._stop, pace=self._pace)
            yield from sweep
        self.notes += [
            f"{address} answered from two MAC addresses, {' and '.join(macs)}: "
            "two machines have it, or one machine has two cards"
            for address, macs in sweep.claimed_twice.items()
        ]
        return []

    def everybody(
        self, networks: Iterable[OnLink], known: Sequence[str], *, solicit: bool
    ) -> Iterator[list[Host]]:
        """Find who is in these networks. With `solicit` each is also asked by itself, which tells the MAC
        address, and so are those whom only the caller or the kernel knows; without it, or where it cannot be
        done, those are left in `unasked`. Raises PermissionNeeded."""
        by_device: dict[str, list[OnLink]] = {}
        for network in networks:
            by_device.setdefault(network.device, []).append(network)
        for device, wanted in by_device.items():
            yield from self._everybody_of(device, wanted, known, solicit)

    def _everybody_of(
        self, device: str, wanted: Sequence[OnLink], known: Sequence[str], solicit: bool
    ) -> Iterator[list[Host]]:
        own = [
            one
            for one in links6.own()
            if one.device == device and any(one.network.overlaps(network.network) for network in wanted)
        ]
        sources = [links6.with_zone(one.address, device) for one in own]
        self._progress.start("multicast", 0)
        answered: dict[str, Host] = {}
        everybody = Everybody(device, sources, self._settings, self._stop)
        for hosts in everybody:
            answered |= {host.address: host for host in hosts if _is_wanted(host.address, wanted)}
            yield []
        if everybody.trouble:
            self._progress.refused |= dict.fromkeys(map(str, wanted), everybody.trouble)
        ours = [one for one in sources if _is_wanted(one, wanted)]
        others = [one for one in (*known, *neighbours6()) if one not in ours and _is_wanted(one, wanted)]
        local: list[Host] = []  # what answers from a link-local address, and perhaps from a better one too
        macs: set[str | None] = set()
        left = list(dict.fromkeys([*answered, *others]))
        asked = False
        for hosts in self._ask(device, left, ours) if solicit and (left or ours) else ():
            asked = True
            found = [_merged(answered.pop(host.address, None), host) for host in hosts]
            macs |= {host.mac for host in found if not host.zone}
            local += [host for host in found if host.zone]
            yield [host for host in found if not host.zone]
        if not asked:
            self.unasked += [one for one in (*ours, *others) if one not in answered and "%" not in one]
            yield self._count(_plain(answered.values()))
            return
        silent = self._count(answered.values())  # who answers everybody's question, but not its own
        yield [host for host in silent if not host.zone]
        yield [host for host in [*local, *silent] if host.zone and (not host.mac or host.mac not in macs)]

    def _count(self, hosts: Iterable[Host]) -> list[Host]:
        hosts = list(hosts)
        self._progress.found += len(hosts)
        return hosts


def _is_wanted(address: str, wanted: Sequence[OnLink]) -> bool:
    plain, _, zone = address.partition("%")
    return any(plain in one and zone in ("", one.device) for one in wanted)


def _plain(hosts: Iterable[Host]) -> list[Host]:
    """Without link-local ones, unless there are no others: whose they are cannot be told without MACs."""
    hosts = list(hosts)
    return [host for host in hosts if not host.zone] or hosts


def _merged(echoed: Host | None, solicited: Host) -> Host:
    if echoed is None:
        return solicited
    return replace(echoed, mac=solicited.mac, also=(solicited.seen,))
