"""How many neighbours the kernel has room for, and whether there is any left.

To send to an address on the same link, or to a router, the kernel needs an entry for its MAC address, which
it keeps for 3 s when there is no answer (arp(7)). When the table is full it drops packets: a ping socket that
asks for errors gets ENOBUFS, a TCP connection gets nothing. The table is shared by all network namespaces,
so another scan, or one that was interrupted a moment ago, may have filled it.
"""

import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from threading import Event

from labmon.scan.kernel import ipv6, netlink
from labmon.scan.kernel.route import ROUTES, parse_routes
from labmon.scan.targets.address import Span, number

USUAL_ROOM = 1024

WAIT = 8.0
"""Seconds to wait for room at most."""

EXPIRY = 3.5
"""Seconds without a refused entry after which there is room: by then the kernel has given up on entries
without an answer, and removes them when it needs their place."""

LOOK = 0.1
"""Seconds between two looks while waiting."""

_GETNEIGHTBL, _NEWNEIGHTBL = 66, 64
_THRESHOLD3, _CONFIG, _STATS = 4, 5, 7  # NDTA_ attributes (linux/neighbour.h)
_FAMILY = struct.Struct("=B3x")
_CONFIG_BEGIN = struct.Struct("=HHI")  # key length, entry size, entries
_TABLE_FULLS = 10  # of the 64-bit numbers in ndt_stats


@dataclass(frozen=True, slots=True)
class NeighbourTable:
    """The state of one family's table."""

    entries: int
    room: int  #: the sysctl gc_thresh3: entries at most
    overflows: int = 0  #: times that an entry was refused since the system started

    @property
    def is_full(self) -> bool:
        """Whether new entries are about to be refused."""
        return self.entries >= 0.9 * self.room


def tables() -> dict[int, NeighbourTable]:
    """By address family; empty where the kernel does not say."""
    try:
        return read_tables(netlink.dump(_GETNEIGHTBL, _FAMILY.pack(0)))
    except OSError:
        return {}


def read_tables(messages: Iterable[tuple[int, bytes]]) -> dict[int, NeighbourTable]:
    """The same from the kernel's messages, one for each table and more for each interface."""
    found: dict[int, NeighbourTable] = {}
    for kind, body in messages:
        if kind != _NEWNEIGHTBL or len(body) < _FAMILY.size:
            continue
        values = dict(netlink.attributes(body[_FAMILY.size :]))
        room, config, stats = (values.get(one, b"") for one in (_THRESHOLD3, _CONFIG, _STATS))
        if len(room) != 4 or len(config) < _CONFIG_BEGIN.size:
            continue
        overflows = 0
        if len(stats) >= 8 * (_TABLE_FULLS + 1):
            (overflows,) = struct.unpack_from("=Q", stats, 8 * _TABLE_FULLS)
        entries = _CONFIG_BEGIN.unpack_from(config)[2]
        found[body[0]] = NeighbourTable(entries, struct.unpack("=I", room)[0], overflows)
    return found


def wait_for_room(stop: Event) -> Iterator[list[object]]:
    """Return when there is room for new neighbours, at the latest after `WAIT`. Yields only empty lists."""
    began = last = time.monotonic()
    refused = overflows()
    while any(one.is_full for one in tables().values()) and not stop.is_set():
        now = time.monotonic()
        if (newly := overflows()) > refused:
            refused, last = newly, now
        if now > min(last + EXPIRY, began + WAIT):
            return
        time.sleep(LOOK)
        yield []


def overflows() -> int:
    """Times that an entry was refused, of both families, since the system started."""
    return sum(one.overflows for one in tables().values())


def count_on_link(addresses: Iterable[str], links: list[Span]) -> int:
    """How many of the addresses are in one of these networks."""
    return sum(any(first <= place <= last for first, last in links) for place in map(number, addresses))


def safe_rate(addresses: Iterable[str], rate: int) -> int:
    """The rate, or as much of it as lets the neighbour table hold all that is being asked for."""
    try:
        routes = parse_routes(ROUTES.read_text())
    except OSError:
        routes = []
    links = [(route.first, route.last) for route in routes + ipv6.routes() if route.device]
    room = min((one.room for one in tables().values()), default=USUAL_ROOM)
    if count_on_link(addresses, links) <= room // 2:
        return rate
    return min(rate or room, room // 5)
