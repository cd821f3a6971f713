"""How many targets share a link with this machine, and how many neighbours its kernel can keep in mind.

To send to an address on the same link the kernel first asks for its MAC address and keeps an entry for
it, for 3 s when nobody answers (arp(7)). When the table is full it drops packets: with an error for a ping
socket that wants to know, without a word for a TCP connection.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from labmon.scan import links6
from labmon.scan.address import Span, number

ROUTES = Path("/proc/net/route")
ROOM = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")
USUAL_ROOM = 1024

_GATEWAY = 0x2  # RTF_GATEWAY


def parse_routes(table: str) -> list[Span]:
    """The networks that /proc/net/route reaches without a gateway."""
    links = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        network, flags, mask = fields[1], int(fields[3], 16), fields[7]
        if not flags & _GATEWAY:
            first = in_our_order(network)
            links.append((first, first | (in_our_order(mask) ^ 0xFFFF_FFFF)))
    return links


def in_our_order(hexadecimal: str) -> int:
    """An address in /proc/net/route: the kernel prints the four bytes as one number in its own order."""
    return int.from_bytes(int(hexadecimal, 16).to_bytes(4, sys.byteorder), "big")


def count_on_link(addresses: Iterable[str], links: list[Span]) -> int:
    """How many of the addresses are in one of these networks."""
    return sum(any(first <= place <= last for first, last in links) for place in map(number, addresses))


def safe_rate(addresses: Iterable[str], rate: int) -> int:
    """The rate, or as much of it as lets the neighbour table hold all that is being asked for."""
    try:
        links = parse_routes(ROUTES.read_text())
    except OSError:
        links = []
    links += [(route.first, route.last) for route in links6.routes() if route.device]
    try:
        room = int(ROOM.read_text())
    except OSError:  # only the first network namespace has it
        room = USUAL_ROOM
    if count_on_link(addresses, links) <= room // 2:
        return rate
    return min(rate or room, room // 5)
