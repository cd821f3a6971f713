"""The IPv6 side of this machine: its routes and its own addresses, as the kernel lists them in /proc."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from labmon.scan.kernel.route import Route
from labmon.scan.targets.address import IPV6

ROUTES = Path("/proc/net/ipv6_route")
OWN = Path("/proc/net/if_inet6")

LINK_LOCAL = IPv6Network("fe80::/10")

_UP, _GATEWAY, _REJECT, _LOCAL = 0x1, 0x2, 0x200, 0x8000_0000
_TENTATIVE, _FAILED = 0x40, 0x08  # may not be used yet, or never (RFC 4862, section 5.4)
_LOOPBACK = "lo"


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """An address of this machine."""

    device: str
    address: str
    network: IPv6Network  #: that it is in

    @property
    def is_link_local(self) -> bool:
        return self.network.network_address in LINK_LOCAL


def parse_routes(table: str) -> list[Route]:
    """The text of /proc/net/ipv6_route, without routes to this machine itself; the preferred ones first."""
    found = []
    for line in table.splitlines():
        fields = line.split()
        if len(fields) < 10 or not (flags := int(fields[8], 16)) & _UP or flags & _LOCAL:
            continue
        first, length = int(fields[0], 16), int(fields[1], 16)
        router = int(fields[4], 16)
        device = None if router or flags & (_GATEWAY | _REJECT) or fields[9] == _LOOPBACK else fields[9]
        found.append(
            (
                int(fields[5], 16),  # metric: of equal routes the kernel takes the lowest
                Route(
                    device,
                    IPV6 + first,
                    IPV6 + first + (1 << (128 - length)) - 1,
                    with_zone(str(IPv6Address(router)), fields[9]) if router else None,
                    fields[9],
                ),
            )
        )
    return [route for _, route in sorted(found, key=lambda one: one[0])]


def parse_own(table: str) -> list[OwnAddress]:
    """The text of /proc/net/if_inet6, without addresses that may not be used."""
    found = []
    for line in table.splitlines():
        fields = line.split()
        if len(fields) < 6 or int(fields[4], 16) & (_TENTATIVE | _FAILED):
            continue
        address = IPv6Address(int(fields[0], 16))
        network = IPv6Network((address, int(fields[2], 16)), strict=False)
        found.append(OwnAddress(fields[5], str(address), network))
    return found


def routes() -> list[Route]:
    """The IPv6 routes; empty where there is no IPv6."""
    try:
        return parse_routes(ROUTES.read_text())
    except OSError:
        return []


def own() -> list[OwnAddress]:
    """The IPv6 addresses of this machine; empty where there is no IPv6."""
    try:
        return parse_own(OWN.read_text())
    except OSError:
        return []


def with_zone(address: str, device: str) -> str:
    """A link-local address with its link, which is part of it (RFC 4007); any other unchanged."""
    return f"{address}%{device}" if IPv6Address(address) in LINK_LOCAL else address


def socket_address(address: str, port: int) -> tuple[str, int, int, int]:
    """The tuple for sockets, with the zone as a number; else the socket module drops it. Raises OSError."""
    host, _, zone = address.partition("%")
    return host, port, 0, socket.if_nametoindex(zone) if zone else 0


def networks(addresses: Sequence[OwnAddress]) -> list[tuple[str, IPv6Network]]:
    """The networks of these addresses, each with its link; no loopback."""
    return sorted(
        {
            (one.device, one.network)
            for one in addresses
            if one.device != _LOOPBACK and one.network.prefixlen < 128
        }
    )
