"""Which targets share an Ethernet with this machine, so that ARP or its IPv6 counterpart reaches them.

Read from /proc, which costs nothing: no command is started, and no packet sent.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from labmon.scan.kernel import ipv6
from labmon.scan.kernel.route import ROUTES, Route, longest_first, parse_routes
from labmon.scan.targets.address import number

LOCAL = Path("/proc/net/fib_trie")
NEIGHBOURS = Path("/proc/net/arp")

_COMPLETE = 0x2  # ATF_COM: the address in the entry is known


def parse_local(trie: str) -> set[str]:
    """The addresses of this machine, from the text of /proc/net/fib_trie."""
    found, address = set(), ""
    for line in trie.splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            address = words[1]
        elif words == ["/32", "host", "LOCAL"]:
            found.add(address)
    return found


def own_addresses() -> list[str]:
    """The IPv4 addresses under which others see this machine, ascending; no loopback."""
    try:
        found = [IPv4Address(one) for one in parse_local(LOCAL.read_text())]
    except OSError:
        return []
    return [str(one) for one in sorted(found) if not one.is_loopback]


def parse_neighbours(table: str) -> dict[str, str]:
    """The text of /proc/net/arp as address -> MAC, for entries that have been answered."""
    known = {}
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) >= 6 and int(fields[2], 16) & _COMPLETE and fields[3] != "00:00:00:00:00:00":
            known[fields[0]] = fields[3].lower()
    return known


def neighbours() -> dict[str, str]:
    """Address -> MAC, as the kernel knows them at the moment."""
    try:
        return parse_neighbours(NEIGHBOURS.read_text())
    except OSError:
        return {}


@dataclass(slots=True)
class SharedLink:
    """Targets, sorted by how they are reached."""

    links: dict[str, list[str]] = field(default_factory=dict)  #: device -> targets on its link
    own: dict[str, list[str]] = field(default_factory=dict)  #: device -> those of this machine itself
    others: Sequence[str] = ()


def sort_targets(targets: Sequence[str]) -> SharedLink:
    """Sort by the routes of this machine, as the kernel would."""
    try:
        routes, local = parse_routes(ROUTES.read_text()), parse_local(LOCAL.read_text())
    except OSError:
        routes, local = [], set()
    local |= {own.address for own in ipv6.own()}
    return divide(targets, longest_first(routes + ipv6.routes()), local)


def divide(targets: Sequence[str], routes: list[Route], local: Iterable[str]) -> SharedLink:
    """The same by tables that are given. No I/O."""
    spans = getattr(targets, "spans", None)
    if spans is not None and not any(
        route.device and route.first <= last and first <= route.last
        for route in routes
        for first, last in spans
    ):
        return SharedLink(others=targets)  # a large sweep behind a router needs no look at each address
    starts, devices = _flat(routes)
    mine = set(local)
    shared, others = SharedLink(), []
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
    """The nested routes as intervals side by side: where each starts, and its device."""
    starts = sorted({0, *(r.first for r in routes), *(r.last + 1 for r in routes)})
    found = [next((r.device for r in routes if r.first <= start <= r.last), None) for start in starts]
    return starts, found
