"""A ping sweep on one socket and one thread."""

import errno
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from threading import Event
from types import TracebackType

from labmon.config import Scan
from labmon.errors import PermissionNeeded
from labmon.scan.echo import ECHO_REPLY, Echo, strip_ip
from labmon.scan.host import Host
from labmon.scan.linux import (
    ICMP_FILTER,
    IP_RECVERR,
    SO_RCVBUFFORCE,
    SO_SNDBUFFORCE,
    SO_TIMESTAMPNS,
    SOL_RAW,
)
from labmon.scan.pace import TICK, Pace
from labmon.scan.progress import Progress

BUFFER = 64 * 1024 * 1024
"""Bytes each way. Answers come while we send, and packets for on-link neighbours that do not answer ARP
stay charged to the socket for seconds."""

PATIENCE = 5.0
"""Seconds without one packet taken after which each further address is tried only once."""

BUSY = {errno.EAGAIN, errno.ENOBUFS}  # send buffer, device queue or neighbour table full: all pass

ASKED, ANSWERED = 1, 2


def how_to_grant() -> str:
    """What lets this Python ping, least powerful first."""
    return (
        "sysctl -w net.ipv4.ping_group_range='0 2147483647' (any user may ping), "
        f"setcap cap_net_raw+ep {os.path.realpath(sys.executable)}, or root"
    )


class PingSocket:
    """Sends and receives ICMP, raw where that is allowed, else as an unprivileged datagram socket."""

    def __init__(self) -> None:
        """Raises PermissionNeeded when the system allows neither kind."""
        try:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            self._raw = True
        except PermissionError:
            self._socket = self._open_datagram()
            self._raw = False
        self._socket.setblocking(False)
        self._enlarge(SO_RCVBUFFORCE, socket.SO_RCVBUF)
        self._enlarge(SO_SNDBUFFORCE, socket.SO_SNDBUF)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        # Without it the kernel drops a packet that a full device queue or neighbour table has no room for,
        # and says that it was sent. With it, errors about earlier packets are told as well.
        self._socket.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        if self._raw:
            # A raw socket is given every ICMP message of the machine, our own questions on loopback too.
            self._socket.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("I", ~(1 << ECHO_REPLY) & 0xFFFF_FFFF))
            self.identifier = int.from_bytes(os.urandom(2), "big")
        else:
            # The kernel writes its own identifier into what a datagram socket sends: its "port".
            self._socket.bind(("0.0.0.0", 0))
            self.identifier = self._socket.getsockname()[1]
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    @staticmethod
    def _open_datagram() -> socket.socket:
        try:
            return socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
        except OSError as error:  # EACCES outside ping_group_range; EPROTONOSUPPORT in some containers
            raise PermissionNeeded(
                f"this account may not ping; what would let it: {how_to_grant()}"
            ) from error

    def _enlarge(self, force: int, plain: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, force, BUFFER)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, plain, BUFFER)  # cut down to net.core.?mem_max

    def send(self, message: bytes, address: str) -> None:
        """Raises OSError, with an errno in BUSY when the same call may work in a moment."""
        try:
            self._socket.sendto(message, (address, 0))
        except OSError as error:
            if error.errno in BUSY:
                raise
            # It may have been about an earlier packet; then it is told only once.
            self._socket.sendto(message, (address, 0))

    def wait(self, seconds: float) -> None:
        """Until something can be received, or the time is over."""
        for _, event in self._poll.poll(seconds * 1000):
            if event & select.POLLERR:
                self._forget_errors()

    def _forget_errors(self) -> None:
        """Empty the error queue (ip(7)): "host unreachable" and the like are what silence is for us."""
        for _ in range(10_000):
            try:
                self._socket.recv(1, socket.MSG_ERRQUEUE)
            except OSError:
                return

    def receive(self, limit: int = 4096) -> Iterator[tuple[bytes, str, int]]:
        """What is there: the ICMP message, who sent it, and when it came in nanoseconds since the epoch.

        The kernel's time of arrival, so that being late to look does not make a host look slow.
        """
        for _ in range(limit):
            try:
                data, ancillary, _flags, source = self._socket.recvmsg(512, 64)
            except BlockingIOError:
                return
            except OSError:
                self._forget_errors()
                continue
            at = time.time_ns()
            for level, kind, value in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                    seconds, nanoseconds = struct.unpack("@ll", value)
                    at = seconds * 1_000_000_000 + nanoseconds
            yield (strip_ip(data) if self._raw else data), source[0], at

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "PingSocket":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Ping:
    """Asks every target, then the silent ones again. Iterate it once.

    Yields the hosts that have answered since the last list, often none. Each target is yielded once.
    """

    def __init__(
        self, sock: PingSocket, targets: Sequence[str], settings: Scan, progress: Progress, stop: Event
    ) -> None:
        self._socket = sock
        self._echo = Echo(sock.identifier, os.urandom(8))
        self._targets = targets
        self._settings = settings
        self._progress = progress
        self._stop = stop
        self._pace = Pace(settings.rate)
        self._state = bytearray(len(targets))
        self._open = 0  # asked and not answered
        self._took = time.monotonic()  # when the system last took a packet

    def __iter__(self) -> Iterator[list[Host]]:
        rounds = 1 + self._settings.retries
        for round_ in range(rounds):
            last = round_ == rounds - 1
            yield from self._ask(round_)
            # A quarter is ages on a campus, and whoever takes longer is asked twice and still heard.
            yield from self._listen(self._settings.timeout * (1 if last else 0.25))
        yield self._receive()

    def _ask(self, round_: int) -> Iterator[list[Host]]:
        silent = len(self._targets) - self._state.count(ANSWERED)
        if not silent:
            return
        self._progress.start("ping again" if round_ else "ping", silent)
        sent = 0
        for number, address in enumerate(self._targets):
            if self._state[number] == ANSWERED:
                continue
            if self._stop.is_set():
                return
            while (trouble := self._send(round_, number, address)) is not None:
                if self._stop.is_set():
                    return
                if trouble not in BUSY or time.monotonic() - self._took > PATIENCE:
                    if not self._state[number]:
                        self._progress.refused[address] = os.strerror(trouble)
                    break
                self._socket.wait(0.005)
                yield self._receive()
            sent += 1
            if sent % self._pace.batch == 0:
                self._pace.spend(self._pace.batch)
                self._progress.asked = sent
                yield self._receive()
                while (pause := self._pace.pause()) and not self._stop.is_set():
                    self._socket.wait(min(pause, TICK))
                    yield self._receive()
        self._pace.spend(sent % self._pace.batch)
        self._progress.asked = sent

    def _send(self, round_: int, number: int, address: str) -> int | None:
        """The errno of what went wrong, if anything did."""
        try:
            self._socket.send(self._echo.question(round_, number, time.time_ns()), address)
        except OSError as error:
            return error.errno or errno.EIO
        self._took = time.monotonic()
        if not self._state[number]:
            self._state[number] = ASKED
            self._open += 1
            self._progress.refused.pop(address, None)
        return None

    def _listen(self, seconds: float) -> Iterator[list[Host]]:
        deadline = time.monotonic() + seconds
        while self._open and not self._stop.is_set():
            left = deadline - time.monotonic()
            self._socket.wait(max(0.0, min(left, TICK)))
            hosts = self._receive()
            yield hosts
            if left <= 0 and not hosts:
                return

    def _receive(self) -> list[Host]:
        hosts = []
        for message, source, at in self._socket.receive():
            reply = self._echo.read(message)
            if reply is None or reply.number >= len(self._state) or self._state[reply.number] != ASKED:
                continue
            if self._targets[reply.number] != source:
                continue  # a broadcast, a router with several addresses, or a forgery
            self._state[reply.number] = ANSWERED
            self._open -= 1
            took = (at - reply.sent) / 1e9
            hosts.append(
                Host(
                    address=source,
                    seen="ping",
                    seen_at=datetime.fromtimestamp(at / 1e9, UTC),
                    rtt=took if took >= 0 else None,  # negative: the clock was set back meanwhile
                )
            )
        self._progress.found += len(hosts)
        return hosts
