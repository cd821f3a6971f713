"""A sweep by TCP connections, which needs no permission, on one thread.

A host that accepts the connection is there, and so is one that refuses it (RFC 9293, section 3.10.7.1: a
closed port answers with a reset). Silence says nothing: no host, or one that drops what it does not expect.
"""

import errno
import os
import resource
import selectors
import socket
import struct
import time
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from labmon.errors import UsageError
from labmon.messages import utcnow
from labmon.scan.host import Host
from labmon.scan.kernel.constants import IP_RECVERR, IPV6_RECVERR
from labmon.scan.kernel.ipv6 import socket_address
from labmon.scan.kernel.neighbour_table import overflows, safe_rate
from labmon.scan.methods.context import SweepContext
from labmon.scan.pacing.rate import TICK, RateLimiter
from labmon.scan.pacing.timeout import AdaptiveTimeout
from labmon.scan.targets.address import is_ipv6

PORT_GAP = 0.1
"""Seconds between two ports, so that a host that answers at the first is not asked at, and does not log,
the second."""

RESEND = 1.0
"""Seconds after which the kernel itself repeats an unanswered SYN (RFC 6298, section 2.1)."""

MAX_SOCKETS = 4096
SPARE_FILES = 64
"""Open files that are left to the rest of the process."""

# Close with a reset: no TIME_WAIT here, no half-closed connection there.
_ABORT = struct.pack("ii", 1, 0)

_OFFENDER = 16 + 4  # struct sock_extended_err, then the address in a sockaddr_in
_OFFENDER6 = 16 + 8  # or in a sockaddr_in6

TABLE_FULL = (
    "tcp: the kernel's table of neighbours was full and packets were dropped, so machines may be missing; "
    "lower --rate, or raise the sysctl net.ipv4.neigh.default.gc_thresh3"
)

ANSWERS = {0, errno.ECONNREFUSED}
"""How a connection ends that a host has answered."""
_FULL = {errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
"""Errors that pass as other connections end."""
_UNREACHED = {errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT}
"""Errors of the network about an address without a machine: silence, not a refusal by this system."""


def max_sockets() -> int:
    """How many connections this process can try at a time, within its limit of open files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    if soft == resource.RLIM_INFINITY:
        return MAX_SOCKETS
    return max(1, min(MAX_SOCKETS, soft - used - SPARE_FILES))


@dataclass(frozen=True, slots=True, eq=False)
class _Attempt:
    socket: socket.socket
    address: str
    port: int
    began: float


class Tcp:
    """Asks every target at one port after the other until it answers. Iterate it once.

    Yields the hosts that have answered since the last list, often none. Each target is yielded once.
    The kernel repeats lost packets; with `retries` the wait is long enough for that.

    The kernel drops the packets of a connection without an error when its table of neighbours is full; then
    `progress.gaps` says so.
    """

    def __init__(
        self,
        targets: Collection[str],
        context: SweepContext,
        timeout: AdaptiveTimeout | None = None,
    ) -> None:
        """Raises UsageError when there is no port to connect to."""
        settings = context.settings
        if not settings.tcp_ports:
            raise UsageError("[scan] tcp_ports is empty: name a port, such as 22")
        self._targets = targets
        self._ports = list(dict.fromkeys(settings.tcp_ports))
        # When a packet was lost, the answer comes to the repetition by the kernel.
        self._repeats = RESEND if settings.retries else 0.0
        self._timeout = timeout or AdaptiveTimeout(settings.timeout)
        self._progress = context.progress
        self._stop = context.stop
        safe = safe_rate(targets, settings.rate)
        self._limiter = context.limiter if safe == settings.rate else RateLimiter(safe)
        self._max = max_sockets()
        self._selector = selectors.DefaultSelector()
        self._flying: dict[str, list[_Attempt]] = {}
        self._by_age: deque[_Attempt] = deque()  # ended ones too, until their time
        self._count = 0
        self._found: set[str] = set()
        self._new: list[Host] = []

    def __iter__(self) -> Iterator[list[Host]]:
        self._progress.start("tcp", len(self._targets) * len(self._ports))
        before = overflows()
        try:
            for port in self._ports:
                yield from self._ask(port)
                yield from self._listen(PORT_GAP)
            yield from self._listen(self._limit)
            yield self._collect(0)
            if overflows() > before:
                self._progress.gaps[TABLE_FULL] = None
        finally:
            for attempt in self._by_age:
                self._end(attempt)
            self._selector.close()

    @property
    def _limit(self) -> float:
        """Seconds after which a connection is given up."""
        return self._repeats + self._timeout.at_the_end

    def _ask(self, port: int) -> Iterator[list[Host]]:
        for sent, address in enumerate(self._targets, 1):
            if self._stop.is_set():
                return
            if address not in self._found:
                while (trouble := self._connect(address, port)) in _FULL and self._count:
                    yield self._collect(0.005)
                    if self._stop.is_set():
                        return
                if trouble and trouble not in _UNREACHED:
                    self._progress.refused[address] = os.strerror(trouble)
            self._progress.asked += 1
            if sent % self._limiter.batch == 0:
                yield self._collect(0)
                while (pause := self._limiter.pause()) and not self._stop.is_set():
                    yield self._collect(min(pause, TICK))

    def _connect(self, address: str, port: int) -> int:
        """Begin one connection. Returns the errno when nothing was sent, else 0."""
        if self._count >= self._max:
            return errno.EMFILE
        began = time.monotonic()
        try:
            sock, trouble = connect_nonblocking(address, port)
        except OSError as error:
            return error.errno or errno.EIO
        attempt = _Attempt(sock, address, port, began)
        self._limiter.spend(1)
        if trouble == errno.EINPROGRESS:
            self._selector.register(sock, selectors.EVENT_WRITE, attempt)
            self._flying.setdefault(address, []).append(attempt)
            self._by_age.append(attempt)
            self._count += 1
            return 0
        if trouble in ANSWERS:
            self._settle(attempt, trouble)
        sock.close()
        return 0 if trouble in ANSWERS else trouble

    def _listen(self, seconds: float) -> Iterator[list[Host]]:
        deadline = time.monotonic() + seconds
        while (self._count or self._new) and not self._stop.is_set():
            left = deadline - time.monotonic()
            yield self._collect(max(0.0, min(left, TICK)))
            if left <= 0:
                return

    def _collect(self, seconds: float) -> list[Host]:
        """Wait this many seconds for answers, and hand out the hosts that have answered."""
        for key, _ in self._selector.select(0 if self._new else seconds):
            attempt: _Attempt = key.data
            if attempt.socket.fileno() >= 0:  # else ended by another answer a moment ago
                self._settle(attempt, attempt.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        too_old = time.monotonic() - self._limit
        while self._by_age and self._by_age[0].began < too_old:
            self._end(self._by_age.popleft())
        new, self._new = self._new, []
        return new

    def _settle(self, attempt: _Attempt, trouble: int) -> None:
        if trouble not in ANSWERS or refused_by_another(attempt.socket, attempt.address):
            self._end(attempt)
            return
        if attempt.address in self._found:
            return
        self._found.add(attempt.address)
        self._progress.found += 1
        self._progress.refused.pop(attempt.address, None)
        took = time.monotonic() - attempt.began
        if took < RESEND:  # else the answer came to the repetition
            self._timeout.observe(took)
        self._new.append(
            Host(attempt.address, f"tcp/{attempt.port}", utcnow(), rtt=took, port_open=trouble == 0)
        )
        for other in list(self._flying.get(attempt.address, ())):
            self._end(other)

    def _end(self, attempt: _Attempt) -> None:
        """Close it. Harmless when it has ended before."""
        if attempt.socket.fileno() < 0:
            return
        flying = self._flying.get(attempt.address)
        if flying and attempt in flying:
            self._selector.unregister(attempt.socket)
            self._count -= 1
            flying.remove(attempt)
            if not flying:
                del self._flying[attempt.address]
        attempt.socket.close()


def connect_nonblocking(address: str, port: int) -> tuple[socket.socket, int]:
    """Begin to connect. Returns the socket and EINPROGRESS, or how it has ended already. Raises OSError."""
    family = socket.AF_INET6 if is_ipv6(address) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        return sock, sock.connect_ex(socket_address(address, port))
    sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    return sock, sock.connect_ex((address, port))


def refused_by_another(sock: socket.socket, address: str) -> bool:
    """Whether a refusal was an ICMP message from a router or firewall on the way.

    The usual "reject" of a Linux firewall, port unreachable, looks like "connection refused" too; without
    this look at the error queue (ip(7)) there would be a host at every address behind it.
    """
    try:
        _, ancillary, _, _ = sock.recvmsg(1, 128, socket.MSG_ERRQUEUE)
    except OSError:
        return False
    for level, kind, value in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, IP_RECVERR) and len(value) >= _OFFENDER + 4:
            return socket.inet_ntoa(value[_OFFENDER : _OFFENDER + 4]) != address
        if (level, kind) == (socket.IPPROTO_IPV6, IPV6_RECVERR) and len(value) >= _OFFENDER6 + 16:
            offender = socket.inet_ntop(socket.AF_INET6, value[_OFFENDER6 : _OFFENDER6 + 16])
            return offender != address.partition("%")[0]
    return False
