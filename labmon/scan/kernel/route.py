"""The kernel's table of IPv4 routes."""

import sys
from dataclasses import dataclass
from pathlib import Path

from labmon.scan.targets.address import text

ROUTES = Path("/proc/net/route")

_UP, _GATEWAY, _REJECT = 0x1, 0x2, 0x200


@dataclass(frozen=True, slots=True)
class Route:
    """Where packets for a span of addresses (numbers of `labmon.scan.targets.address`) are sent."""

    device: str | None  #: None when they go through a router, or nowhere
    first: int
    last: int
    router: str | None = None
    outward: str = ""  #: the device towards the router


def parse_routes(table: str) -> list[Route]:
    """The text of /proc/net/route; the longest prefix first, as the kernel looks routes up."""
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


def longest_first(routes: list[Route]) -> list[Route]:
    """The routes in the order in which the kernel looks them up."""
    return sorted(routes, key=lambda route: route.last - route.first)


def in_our_order(hexadecimal: str) -> int:
    """An address of /proc/net/route, which has the four bytes as one number in the order of the machine."""
    return int.from_bytes(int(hexadecimal, 16).to_bytes(4, sys.byteorder), "big")
