"""Addresses as numbers on one line: IPv4 as they are, and IPv6 after them. No I/O."""

import socket
import struct
from ipaddress import IPv6Address, ip_address

IPV6 = 1 << 32
"""Where IPv6 begins: `::` is this number."""

END = IPV6 + (1 << 128)

Span = tuple[int, int]
"""First and last address, both included."""

_UNSIGNED = struct.Struct("!I")


def number(address: str) -> int:
    """The number of an address without a zone. Raises OSError for other text."""
    if ":" in address:
        return IPV6 + int.from_bytes(socket.inet_pton(socket.AF_INET6, address), "big")
    value: int = _UNSIGNED.unpack(socket.inet_aton(address))[0]  # five times as fast as IPv4Address
    return value


def text(number: int) -> str:
    """The usual way to write it; of IPv6 that of RFC 5952."""
    if number < IPV6:
        return socket.inet_ntoa(_UNSIGNED.pack(number))
    return str(IPv6Address(number - IPV6))


def is_ipv6(address: str) -> bool:
    """Whether an address, with a zone or without, is of IPv6."""
    return ":" in address


def order(address: str) -> tuple[int, str]:
    """The key to sort addresses by, zones included."""
    place = ip_address(address)
    return int(place) + (IPV6 if place.version == 6 else 0), address
