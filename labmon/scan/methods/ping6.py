"""A ping sweep by ICMPv6 (RFC 4443)."""

import errno
import socket
import struct
from typing import Any

from labmon.errors import UsageError
from labmon.scan.kernel.constants import ICMPV6_FILTER, IPV6_RECVERR, SOL_ICMPV6
from labmon.scan.kernel.ipv6 import socket_address, with_zone
from labmon.scan.methods.ping import Ping, PingSocket
from labmon.scan.wire.echo import ECHO_REPLY_6, ODD_OPTION, PROBLEM_6

_BLOCKED = (1 << 256) - 1


class PingSocket6(PingSocket):
    """Sends and receives ICMPv6."""

    family = socket.AF_INET6
    protocol = socket.IPPROTO_ICMPV6

    def __init__(self, source: str = "") -> None:
        """As for IPv4; raises UsageError where this machine has no IPv6."""
        try:
            super().__init__(source)
        except OSError as error:
            if error.errno == errno.EAFNOSUPPORT:
                raise UsageError("this machine has no IPv6 to scan with") from error
            raise

    def _set_options(self) -> None:
        self._socket.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        if self._raw:
            # One bit for each of 256 types, in words of 32 (RFC 3542, section 3.2).
            words = [_BLOCKED >> shift & 0xFFFF_FFFF for shift in range(0, 256, 32)]
            for kind in (ECHO_REPLY_6, PROBLEM_6):
                words[kind // 32] &= ~(1 << kind % 32)
            self._socket.setsockopt(SOL_ICMPV6, ICMPV6_FILTER, struct.pack("8I", *words))

    def _unwrap(self, data: bytes) -> tuple[bytes, int | None]:
        return data, None  # comes without the IP header; the hop limit is ancillary data

    def send_odd(self, message: bytes, address: str) -> None:
        """Send it with `ODD_OPTION` before it. Raises OSError, also when this account may not."""
        options = [(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, ODD_OPTION)]
        self._socket.sendmsg([message], options, 0, self._to(address))

    def _to(self, address: str) -> tuple[Any, ...]:
        return socket_address(address, 0)

    def _from(self, source: tuple[Any, ...]) -> str:
        address, _, _, index = source
        return with_zone(address, socket.if_indextoname(index)) if index else address


class Ping6(Ping):
    """A sweep by ICMPv6 echo requests."""

    phase = "ping"
    ipv6 = True
