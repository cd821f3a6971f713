"""The kernel's table of IPv6 neighbours, which only netlink tells (rtnetlink(7))."""

import socket
import struct
from collections.abc import Iterable, Iterator

from labmon.scan.kernel import netlink
from labmon.scan.kernel.ipv6 import with_zone

_GETNEIGH, _NEWNEIGH = 30, 28
_DST, _LLADDR = 1, 2
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # family, interface, state, flags, type
_USABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent


def neighbours6() -> dict[str, str]:
    """Address -> MAC; link-local addresses with their zone. Empty where the kernel does not say."""
    found: dict[str, str] = {}
    names: dict[int, str] = {}
    try:
        body = _NEIGHBOUR.pack(socket.AF_INET6, 0, 0, 0, 0)
        for address, mac, index in _known(netlink.dump(_GETNEIGH, body)):
            if index not in names:
                names[index] = socket.if_indextoname(index)
            found[with_zone(address, names[index])] = mac
    except OSError:
        pass
    return found


def read_table(data: bytes) -> tuple[list[tuple[str, str, int]], bool]:
    """(address, MAC, interface) of each neighbour in a datagram of the kernel; whether it is the last."""
    messages, done = netlink.read_datagram(data)
    return list(_known(messages)), done


def _known(messages: Iterable[tuple[int, bytes]]) -> Iterator[tuple[str, str, int]]:
    """Address, MAC and interface of each IPv6 neighbour whose MAC the kernel knows."""
    for kind, body in messages:
        if kind != _NEWNEIGH or len(body) < _NEIGHBOUR.size:
            continue
        family, index, state, _, _ = _NEIGHBOUR.unpack_from(body)
        values = dict(netlink.attributes(body[_NEIGHBOUR.size :]))
        address, mac = values.get(_DST, b""), values.get(_LLADDR, b"")
        if (
            family == socket.AF_INET6
            and state & _USABLE
            and len(address) == 16
            and len(mac) == 6
            and any(mac)
        ):
            yield socket.inet_ntop(socket.AF_INET6, address), mac.hex(":"), index
