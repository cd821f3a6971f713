"""Hosts on the links of this machine: asked by ARP, by neighbour discovery, and all at once by multicast."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

from labmon.closing import Closing
from labmon.errors import PermissionNeeded
from labmon.messages import utcnow
from labmon.scan.host import Host
from labmon.scan.kernel import ipv6 as links6
from labmon.scan.kernel.links import SharedLink
from labmon.scan.kernel.neighbours6 import neighbours6
from labmon.scan.late import LateAnswers
from labmon.scan.methods.context import SweepContext
from labmon.scan.methods.multicast_ping import MulticastPing
from labmon.scan.targets.address import is_ipv6
from labmon.scan.targets.target_set import OnLink


class OnLinkSweep(Closing):
    """The part of a sweep that passes no router.

    Its generators yield hosts as they answer. Where this account may not send whole frames, `permitted`
    becomes False and the caller has to ask in another way; with `required` PermissionNeeded is raised.
    Sockets stay open, for `late` answers, until it is closed.
    """

    def __init__(
        self,
        context: SweepContext,
        late: LateAnswers,
        *,
        required: bool = False,
    ) -> None:
        self.permitted = True
        self.notes: list[str] = []
        """What the user should know, a line each."""
        self.unasked: list[str] = []
        """Known addresses, and those of this machine itself, that were not asked."""
        self._context = context
        self._progress = context.progress
        self._late = late
        self._required = required
        self._stack = ExitStack()

    def each(self, shared: SharedLink) -> Generator[list[Host], None, Sequence[str]]:
        """Ask each address on a link by itself. Returns the targets that cannot be asked in this way."""
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
        """Ask addresses of one family on one link. Returns all of them when that is not possible."""
        from labmon.scan.kernel.link_socket import NoEthernet
        from labmon.scan.methods.arp import Arp, ArpSocket
        from labmon.scan.methods.ndp import Ndp, NdpSocket

        one = (*addresses, *own)[0]
        kinds = (NdpSocket, Ndp) if is_ipv6(one) else (ArpSocket, Arp)
        try:
            sock = self._stack.enter_context(kinds[0](device, one))
        except NoEthernet:
            return [*own, *addresses]
        except PermissionNeeded:
            if self._required:
                raise
            self.permitted = False
            return [*own, *addresses]
        now = utcnow()
        self._progress.found += len(own)
        yield [Host(address, kinds[1].phase, now, mac=sock.mac) for address in own]
        sweep = kinds[1](sock, addresses, self._context)
        yield from sweep
        self._late.add(sweep)
        self.notes += [
            f"{address} answered from two MAC addresses, {' and '.join(macs)}: "
            "two machines have it, or one machine has two cards"
            for address, macs in sweep.claimed_twice.items()
        ]
        return []

    def multicast(
        self, networks: Iterable[OnLink], known: Sequence[str], *, solicit: bool
    ) -> Iterator[list[Host]]:
        """Find the hosts of these networks by one question to all.

        With `solicit` each host is also asked by itself, for its MAC, and so are addresses that only the
        caller (`known`) or the kernel knows; without it, or where that is not possible, these are left in
        `unasked`. Raises PermissionNeeded.
        """
        by_device: dict[str, list[OnLink]] = {}
        for network in networks:
            by_device.setdefault(network.device, []).append(network)
        for device, wanted in by_device.items():
            yield from self._multicast_on(device, wanted, known, solicit)

    def _multicast_on(
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
        multicast = MulticastPing(device, sources, self._context.settings, self._context.stop)
        for hosts in multicast:
            answered |= {host.address: host for host in hosts if _is_wanted(host.address, wanted)}
            yield []
        if multicast.trouble:
            self._progress.refused |= dict.fromkeys(map(str, wanted), multicast.trouble)
        ours = [one for one in sources if _is_wanted(one, wanted)]
        others = [one for one in (*known, *neighbours6()) if one not in ours and _is_wanted(one, wanted)]
        local: list[Host] = []  # answered from a link-local address, and perhaps from a better one too
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
        silent = self._count(answered.values())  # answered the question to all, but not the one to itself
        yield [host for host in silent if not host.zone]
        yield [host for host in [*local, *silent] if host.zone and (not host.mac or host.mac not in macs)]

    def _count(self, hosts: Iterable[Host]) -> list[Host]:
        hosts = list(hosts)
        self._progress.found += len(hosts)
        return hosts

    def close(self) -> None:
        self._stack.close()


def _is_wanted(address: str, wanted: Sequence[OnLink]) -> bool:
    plain, _, zone = address.partition("%")
    return any(plain in one and zone in ("", one.device) for one in wanted)


def _plain(hosts: Iterable[Host]) -> list[Host]:
    """Without link-local addresses, unless there are no others: without MACs nothing shows whose they are."""
    hosts = list(hosts)
    return [host for host in hosts if not host.zone] or hosts


def _merged(pinged: Host | None, solicited: Host) -> Host:
    if pinged is None:
        return solicited
    return replace(pinged, mac=solicited.mac, also=(solicited.seen,))
