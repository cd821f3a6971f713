"""The kernel's table of IPv6 neighbours, which only netlink tells (rtnetlink(7)). Any user may ask."""

import socket
import struct
from collections.abc import Iterator

from labmon.scan.links6 import with_zone

_NETLINK_ROUTE = 0
_GETNEIGH, _NEWNEIGH, _ERROR, _DONE = 30, 28, 2, 3
_REQUEST_DUMP = 0x301
_DST, _LLADDR = 1, 2

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # family, interface, state, flags, type
_ATTRIBUTE = struct.Struct("=HH")  # length, type

_KNOWN = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # reachable, stale, delay, probe, permanent
_ROUNDS = 1000  # datagrams; a kernel with more neighbours than those hold is none we meet


def neighbours6() -> dict[str, str]:
    """address -> MAC, link-local addresses with their zone. Empty where the kernel does not say."""
    found: dict[str, str] = {}
    names: dict[int, str] = {}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as sock:
            sock.settimeout(1)
            body = _NEIGHBOUR.pack(socket.AF_INET6, 0, 0, 0, 0)
            sock.send(_HEADER.pack(_HEADER.size + len(body), _GETNEIGH, _REQUEST_DUMP, 1, 0) + body)
            for _ in range(_ROUNDS):
                entries, done = read_table(sock.recv(1 << 16))
                for address, mac, index in entries:
                    if index not in names:
                        names[index] = socket.if_indextoname(index)
                    found[with_zone(address, names[index])] = mac
                if done:
                    break
    except OSError:
        pass
    return found


def read_table(data: bytes) -> tuple[list[tuple[str, str, int]], bool]:
    """(address, MAC, interface) of each neighbour in a datagram of the kernel's; whether it is the last."""
    found: list[tuple[str, str, int]] = []
    for kind, body in _messages(data):
        if kind in (_DONE, _ERROR):
            return found, True
        if kind != _NEWNEIGH or len(body) < _NEIGHBOUR.size:
            continue
        family, index, state, _, _ = _NEIGHBOUR.unpack_from(body)
        values = dict(_attributes(body[_NEIGHBOUR.size :]))
        address, mac = values.get(_DST, b""), values.get(_LLADDR, b"")
        if family == socket.AF_INET6 and state & _KNOWN and len(address) == 16 and len(mac) == 6 and any(mac):
            found.append((socket.inet_ntop(socket.AF_INET6, address), mac.hex(":"), index))
    return found, False


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            return
        yield kind, data[_HEADER.size : length]
        data = data[_aligned(length) :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            return
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]


def _aligned(length: int) -> int:
    return (length + 3) & ~3
