"""Questions to the kernel by netlink (netlink(7), rtnetlink(7)), which any user may ask."""

import socket
import struct
from collections.abc import Iterator

_NETLINK_ROUTE = 0
_ERROR, _DONE = 2, 3
_REQUEST_DUMP = 0x301

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # length, type

_MOST_DATAGRAMS = 1000
"""More than a kernel's tables fill, so that the loop has an end."""


def dump(question: int, body: bytes) -> Iterator[tuple[int, bytes]]:
    """Ask for a whole table: the type and body of each message of the answer. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as sock:
        sock.settimeout(1)
        sock.send(_HEADER.pack(_HEADER.size + len(body), question, _REQUEST_DUMP, 1, 0) + body)
        for _ in range(_MOST_DATAGRAMS):
            found, done = read_datagram(sock.recv(1 << 16))
            yield from found
            if done:
                return


def read_datagram(data: bytes) -> tuple[list[tuple[int, bytes]], bool]:
    """The messages in a datagram of the kernel, and whether it is the last one."""
    found: list[tuple[int, bytes]] = []
    for kind, body in _messages(data):
        if kind in (_DONE, _ERROR):
            return found, True
        found.append((kind, body))
    return found, False


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes after a message's fixed part. Ends at the first one that is cut off."""
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if not _ATTRIBUTE.size <= length <= len(data):
            return
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[_aligned(length) :]


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        if not _HEADER.size <= length <= len(data):
            return
        yield kind, data[_HEADER.size : length]
        data = data[_aligned(length) :]


def _aligned(length: int) -> int:
    return (length + 3) & ~3
