"""Requests of the person who started the dashboard, before there is any user.

An address of 127.0.0.1 is not enough: every account of a shared machine has it, and so has a reverse proxy
for the whole world. The kernel says which account owns the other end of a connection within this machine.
"""

import ipaddress
import os
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

_TABLES = {4: Path("/proc/net/tcp"), 6: Path("/proc/net/tcp6")}

_ESTABLISHED = "01"

_FORWARDED = frozenset({b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"})

Endpoint = tuple[str, int]
"""Address and port."""


def is_own(scope: MutableMapping[str, Any]) -> bool:
    """True for a request from this machine by our own account, or by the one that started us with sudo.

    Proxies of this machine run as another account, and mostly say that they forward.
    """
    peer, server, headers = scope.get("client"), scope.get("server"), scope["headers"]
    if peer is None or server is None or any(name in _FORWARDED for name, _ in headers):
        return False
    address = plain(peer[0])
    if address is None or not address.is_loopback:
        return False
    return _owner(peer, server) in _ours()


def plain(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address; one of IPv4 written as IPv6 is that of IPv4. None for what is no address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped if address.version == 6 else None) or address


def _ours() -> set[int]:
    ours = {os.geteuid()}
    if os.geteuid() == 0 and os.environ.get("SUDO_UID", "").isdecimal():
        ours.add(int(os.environ["SUDO_UID"]))
    return ours


def _owner(peer: Endpoint, server: Endpoint) -> int | None:
    """The account of the socket at the other end; None where the kernel has none to tell."""
    for version, table in _TABLES.items():
        wanted = [_in_hex(*peer, version), _in_hex(*server, version)]
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[1:3] == wanted and fields[3] == _ESTABLISHED:
                return int(fields[7])
    return None


def _in_hex(host: str, port: int, version: int) -> str:
    """An end of a connection as /proc/net/tcp writes it: 32-bit words in the machine's byte order."""
    address = ipaddress.ip_address(host)
    packed = address.packed
    if version == 6 and address.version == 4:
        packed = ipaddress.ip_address(f"::ffff:{host}").packed
    elif version == 4 and address.version == 6:
        packed = address.ipv4_mapped.packed if address.ipv4_mapped else b""
    words = [int.from_bytes(packed[i : i + 4], sys.byteorder) for i in range(0, len(packed), 4)]
    return f"{''.join(f'{word:08X}' for word in words)}:{port:04X}"
