"""A ping sweep on one socket and one thread."""

import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from labmon.closing import Closing
from labmon.errors import PermissionNeeded
from labmon.scan.host import Host
from labmon.scan.kernel.constants import (
    ICMP_FILTER,
    IP_RECVERR,
    IP_RECVTTL,
    SO_RCVBUFFORCE,
    SO_SNDBUFFORCE,
    SO_TIMESTAMPNS,
    SOL_RAW,
)
from labmon.scan.methods.context import SweepContext
from labmon.scan.methods.rounds import BUSY, ProbeRounds
from labmon.scan.pacing.timeout import AdaptiveTimeout
from labmon.scan.permissions import how_to_grant
from labmon.scan.wire.echo import ECHO_REPLY, Echo, Reply, strip_ip

BUFFER = 64 * 1024 * 1024
"""Bytes each way. Answers come while we send, and packets for neighbours on the link that do not answer ARP
count against the socket for seconds."""

TTL_OFFSET = 8  # in an IPv4 header

HOPS_LEFT = {(socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)}
"""The kinds of ancillary data in which the kernel hands over the TTL of a packet."""


@dataclass(frozen=True, slots=True)
class Packet:
    """An ICMP message that has come in."""

    message: bytes  #: from the ICMP header on
    source: str
    at: int
    """Nanoseconds since the epoch, by the kernel, so that a host does not look slow because we read late."""
    ttl: int | None  #: as it arrived


class PingSocket(Closing):
    """Sends and receives ICMP, raw where that is allowed, else as an unprivileged datagram socket."""

    family: ClassVar = socket.AF_INET
    protocol: ClassVar = socket.IPPROTO_ICMP

    def __init__(self, source: str = "") -> None:
        """`source` is the own address to send from; without one the kernel chooses for each packet.

        Raises PermissionNeeded when the system allows neither kind.
        """
        try:
            self._socket = socket.socket(self.family, socket.SOCK_RAW, self.protocol)
            self._raw = True
        except PermissionError:
            self._socket = self._open_datagram()
            self._raw = False
        self._socket.setblocking(False)
        self._enlarge(SO_RCVBUFFORCE, socket.SO_RCVBUF)
        self._enlarge(SO_SNDBUFFORCE, socket.SO_SNDBUF)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._set_options()
        if not self._raw or source:
            self._socket.bind(self._to(source))
        # The kernel writes its own identifier into what a datagram socket sends: its "port".
        self.identifier: int = (
            int.from_bytes(os.urandom(2), "big") if self._raw else self._socket.getsockname()[1]
        )
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def _set_options(self) -> None:
        # Without it the kernel drops a packet for which device queue or neighbour table have no room, and
        # reports success. With it, errors about earlier packets are reported as well.
        self._socket.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        if self._raw:
            # A raw socket gets every ICMP message of the machine, on loopback our own questions too.
            self._socket.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("I", ~(1 << ECHO_REPLY) & 0xFFFF_FFFF))
        else:
            self._socket.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)

    def _open_datagram(self) -> socket.socket:
        try:
            return socket.socket(self.family, socket.SOCK_DGRAM, self.protocol)
        except OSError as error:  # EACCES outside ping_group_range; EPROTONOSUPPORT in some containers
            raise PermissionNeeded(f"this account may not ping. To allow it: {how_to_grant()}") from error

    def _enlarge(self, force: int, plain: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, force, BUFFER)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, plain, BUFFER)  # cut down to net.core.?mem_max

    def send(self, message: bytes, address: str) -> None:
        """Raises OSError, with an errno in BUSY when the same call may work in a moment."""
        try:
            self._socket.sendto(message, self._to(address))
        except OSError as error:
            if error.errno in BUSY:
                raise
            # The error may be about an earlier packet; then it is reported only once.
            self._socket.sendto(message, self._to(address))

    def wait(self, seconds: float) -> None:
        """Return when something can be received, or after these seconds."""
        for _, event in self._poll.poll(seconds * 1000):
            if event & select.POLLERR:
                self._drop_errors()

    def _drop_errors(self) -> None:
        """Empty the error queue (ip(7)): "host unreachable" means the same to a sweep as silence."""
        for _ in range(10_000):
            try:
                self._socket.recv(1, socket.MSG_ERRQUEUE)
            except OSError:
                return

    def receive(self, limit: int = 4096) -> Iterator[Packet]:
        """What has come in, at most `limit` packets. Does not wait."""
        for _ in range(limit):
            try:
                data, ancillary, _flags, source = self._socket.recvmsg(512, 128)
            except BlockingIOError:
                return
            except OSError:
                self._drop_errors()
                continue
            at = time.time_ns()
            message, ttl = self._unwrap(data)
            for level, kind, value in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                    seconds, nanoseconds = struct.unpack("@ll", value)
                    at = seconds * 1_000_000_000 + nanoseconds
                elif (level, kind) in HOPS_LEFT:
                    ttl = int.from_bytes(value[:4], sys.byteorder)
            yield Packet(message, self._from(source), at, ttl)

    def _to(self, address: str) -> tuple[Any, ...]:
        return address, 0

    def _from(self, source: tuple[Any, ...]) -> str:
        return str(source[0])

    def _unwrap(self, data: bytes) -> tuple[bytes, int | None]:
        """The message in what was received, and its TTL where the IP header is there."""
        if not self._raw:
            return data, None
        return strip_ip(data), data[TTL_OFFSET] if len(data) > TTL_OFFSET else None

    def close(self) -> None:
        self._socket.close()


class Ping(ProbeRounds):
    """A sweep by echo requests."""

    phase = "ping"
    ipv6: ClassVar = False

    def __init__(
        self,
        sock: PingSocket,
        targets: Sequence[str],
        context: SweepContext,
        timeout: AdaptiveTimeout | None = None,
    ) -> None:
        super().__init__(targets, context, timeout)
        self._socket = sock
        self._echo = Echo(sock.identifier, os.urandom(8), ipv6=self.ipv6)

    def _put(self, round_: int, number: int, address: str) -> None:
        self._socket.send(self._echo.question(round_, number, time.time_ns()), address)

    def _wait(self, seconds: float) -> None:
        self._socket.wait(seconds)

    def _take(self) -> Iterator[tuple[int, Host]]:
        for packet in self._socket.receive():
            reply = self._echo.read(packet.message)
            if reply is not None:
                yield reply.number, host_of(packet, reply)


def host_of(packet: Packet, reply: Reply) -> Host:
    """The host that sent the packet, given that it is the answer `reply`."""
    took = (packet.at - reply.sent) / 1e9
    return Host(
        address=packet.source,
        seen="ping",
        seen_at=datetime.fromtimestamp(packet.at / 1e9, UTC),
        rtt=took if took >= 0 else None,  # negative: the clock was set back meanwhile
        ttl=packet.ttl,
    )
