"""Which targets share an Ethernet with this machine, so that ARP or its IPv6 counterpart reaches them.

Read from /proc, which costs nothing: no command is started, and no packet sent.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from labmon.scan import links6
from labmon.scan.address import number, text
from labmon.scan.neighbours import ROUTES, in_our_order
from labmon.scan.route import Route

LOCAL = Path("/proc/net/fib_trie")
NEIGHBOURS = Path("/proc/net/arp")

_UP, _GATEWAY, _REJECT = 0x1, 0x2, 0x200
_COMPLETE = 0x2  # ATF_COM: the address in the entry is known


def parse_routes(table: str) -> list[Route]:
    """/proc/net/route, the longest prefix first, as the kernel looks things up."""
    routes = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or not (flags := int(fields[3], 16)) & _UP:
            continue
        first, mask = in_our_order(fields[1]), in_our_order(fields[7])
        device = None if flags & (_GATEWAY | _REJECT) else fields[0]
        router = text(in_our_order(fields[2])) if flags & _GATEWAY else None
        routes.append(Route(device, first, first | (mask ^ 0xFFFF_FFFF), router, fields[0]))
    return longest_first(routes)


def parse_local(trie: str) -> set[str]:
    """The addresses of this machine, from /proc/net/fib_trie."""
    found, address = set(), ""
    for line in trie.splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            address = words[1]
        elif words == ["/32", "host", "LOCAL"]:
            found.add(address)
    return found


def own_addresses() -> list[str]:
    """The IPv4 addresses that others may see this machine by, in their order."""
    try:
        found = [IPv4Address(one) for one in parse_local(LOCAL.read_text())]
    except OSError:
        return []
    return [str(one) for one in sorted(found) if not one.is_loopback]


def parse_neighbours(table: str) -> dict[str, str]:
    """/proc/net/arp as address -> MAC, for entries that the kernel has an answer for."""
    known = {}
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 6 and int(fields[2], 16) & _COMPLETE and fields[3] != "00:00:00:00:00:00":
            known[fields[0]] = fields[3].lower()
    return known


def neighbours() -> dict[str, str]:
    """The MAC addresses that the kernel knows at the moment."""
    try:
        return parse_neighbours(NEIGHBOURS.read_text())
    except OSError:
        return {}


@dataclass(slots=True)
class Shared:
    """The targets, sorted by how they are reached."""

    links: dict[str, list[str]] = field(default_factory=dict)  #: device -> those on it
    own: dict[str, list[str]] = field(default_factory=dict)  #: device -> this machine's, not to be asked
    others: Sequence[str] = ()


def sort_targets(targets: Sequence[str]) -> Shared:
    """Look every target up in the routes of this machine, as the kernel would."""
    try:
        routes, local = parse_routes(ROUTES.read_text()), parse_local(LOCAL.read_text())
    except OSError:
        routes, local = [], set()
    local |= {own.address for own in links6.own()}
    return divide(targets, longest_first(routes + links6.routes()), local)


def longest_first(routes: list[Route]) -> list[Route]:
    """As the kernel looks things up."""
    return sorted(routes, key=lambda route: route.last - route.first)


def divide(targets: Sequence[str], routes: list[Route], local: Iterable[str]) -> Shared:
    """The same, for tables that are given. No I/O."""
    spans = getattr(targets, "spans", None)
    if spans is not None and not any(
        route.device and route.first <= last and first <= route.last
        for route in routes
        for first, last in spans
    ):
        return Shared(others=targets)  # the usual large sweep, behind a router: not looked at one by one
    starts, devices = _flat(routes)
    mine = set(local)
    shared, others = Shared(), []
    for address in targets:
        device = devices[bisect_right(starts, number(address)) - 1]
        if device is None:
            others.append(address)
        elif address in mine:
            shared.own.setdefault(device, []).append(address)
        else:
            shared.links.setdefault(device, []).append(address)
    shared.others = others
    return shared


def _flat(routes: list[Route]) -> tuple[list[int], list[str | None]]:
    """The nested routes as intervals side by side: where each starts, and the device there."""
    starts = sorted({0, *(r.first for r in routes), *(r.last + 1 for r in routes)})
    found = [next((r.device for r in routes if r.first <= start <= r.last), None) for start in starts]
    return starts, found
