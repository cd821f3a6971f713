"""A sweep by TCP connections, which needs no permission, on one thread.

Who accepts the connection is alive, and so is who refuses it (RFC 9293, section 3.10.7.1: a closed port
answers with a reset). Silence says nothing: no host, or one that drops what it does not expect.
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
from threading import Event

from labmon.config import Scan
from labmon.errors import UsageError
from labmon.messages import utcnow
from labmon.scan.address import is_ipv6
from labmon.scan.host import Host
from labmon.scan.links6 import socket_address
from labmon.scan.linux import IP_RECVERR, IPV6_RECVERR
from labmon.scan.neighbours import safe_rate
from labmon.scan.pace import TICK, Pace
from labmon.scan.progress import Progress
from labmon.scan.timing import Patience

PORT_GAP = 0.1
"""Seconds between two ports, so that who answers at the first is not asked, and does not log, the second."""

RESEND = 1.0
"""Seconds after which the kernel itself repeats an unanswered SYN (RFC 6298, section 2.1)."""

MOST_SOCKETS = 4096
SPARE_FILES = 64
"""Left for the rest of the process below its limit of open files."""

# Close with a reset: no TIME_WAIT here, no half-closed connection there.
_ABORT = struct.pack("ii", 1, 0)

_OFFENDER = 16 + 4  # struct sock_extended_err, then the address in a sockaddr_in
_OFFENDER6 = 16 + 8  # or in a sockaddr_in6

ANSWERS = {0, errno.ECONNREFUSED}
"""How a connection ends that somebody has answered."""
_FULL = {errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL}
"""What passes as connections end."""
_UNREACHED = {errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ETIMEDOUT}
"""What the network says of an address where nobody is: silence, not a refusal by this machine."""


def most_sockets() -> int:
    """How many connections this process can try at a time."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd"))
    if soft == resource.RLIM_INFINITY:
        return MOST_SOCKETS
    return max(1, min(MOST_SOCKETS, soft - used - SPARE_FILES))


@dataclass(frozen=True, slots=True, eq=False)
class _Attempt:
    socket: socket.socket
    address: str
    port: int
    began: float


class Tcp:
    """Asks every target at one port after the other until it answers. Iterate it once.

    Yields the hosts that have answered since the last list, often none. Each target is yielded once.
    The kernel repeats lost packets; with `retries` the wait is long enough to see that.
    """

    def __init__(
        self,
        targets: Collection[str],
        settings: Scan,
        progress: Progress,
        stop: Event,
        *,
        pace: Pace | None = None,
        patience: Patience | None = None,
    ) -> None:
        """Raises UsageError when there is no port to ask at."""
        if not settings.tcp_ports:
            raise UsageError("[scan] tcp_ports is empty: name a port to ask at, such as 22")
        self._targets = targets
        self._ports = list(dict.fromkeys(settings.tcp_ports))
        # The kernel's own repetition is what brings an answer when something was lost.
        self._repeats = RESEND if settings.retries else 0.0
        self._waits = patience or Patience(settings.timeout)
        self._progress = progress
        self._stop = stop
        safe = safe_rate(targets, settings.rate)
        self._pace = pace if pace and safe == settings.rate else Pace(safe)
        self._most = most_sockets()
        self._selector = selectors.DefaultSelector()
        self._flying: dict[str, list[_Attempt]] = {}
        self._by_age: deque[_Attempt] = deque()  # ended ones too, until their time
        self._count = 0
        self._found: set[str] = set()
        self._new: list[Host] = []

    def __iter__(self) -> Iterator[list[Host]]:
        self._progress.start("tcp", len(self._targets) * len(self._ports))
        try:
            for port in self._ports:
                yield from self._ask(port)
                yield from self._listen(PORT_GAP)
            yield from self._listen(self._patience)
            yield self._collect(0)
        finally:
            for attempt in self._by_age:
                self._end(attempt)
            self._selector.close()

    @property
    def _patience(self) -> float:
        """Seconds that a connection is given."""
        return self._repeats + self._waits.at_the_end

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
            if sent % self._pace.batch == 0:
                yield self._collect(0)
                while (pause := self._pace.pause()) and not self._stop.is_set():
                    yield self._collect(min(pause, TICK))

    def _connect(self, address: str, port: int) -> int:
        """Ask once. An errno when the question did not go out."""
        if self._count >= self._most:
            return errno.EMFILE
        began = time.monotonic()
        try:
            sock, trouble = knock(address, port)
        except OSError as error:
            return error.errno or errno.EIO
        attempt = _Attempt(sock, address, port, began)
        self._pace.spend(1)
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
        """Wait that long for something to happen, and hand out who has answered."""
        for key, _ in self._selector.select(0 if self._new else seconds):
            attempt: _Attempt = key.data
            if attempt.socket.fileno() >= 0:  # else ended by another answer a moment ago
                self._settle(attempt, attempt.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        too_old = time.monotonic() - self._patience
        while self._by_age and self._by_age[0].began < too_old:
            self._end(self._by_age.popleft())
        new, self._new = self._new, []
        return new

    def _settle(self, attempt: _Attempt, trouble: int) -> None:
        if trouble not in ANSWERS or said_by_another(attempt.socket, attempt.address):
            self._end(attempt)
            return
        if attempt.address in self._found:
            return
        self._found.add(attempt.address)
        self._progress.found += 1
        self._progress.refused.pop(attempt.address, None)
        took = time.monotonic() - attempt.began
        if took < RESEND:  # else it answered the repetition
            self._waits.observe(took)
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


def knock(address: str, port: int) -> tuple[socket.socket, int]:
    """Begin to connect: the socket, and EINPROGRESS or what has come of it already. Raises OSError."""
    family = socket.AF_INET6 if is_ipv6(address) else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        return sock, sock.connect_ex(socket_address(address, port))
    sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    return sock, sock.connect_ex((address, port))


def said_by_another(sock: socket.socket, address: str) -> bool:
    """Whether a refusal was an ICMP message from a router or firewall on the way.

    The usual "reject" of a Linux firewall, port unreachable, reads as "connection refused" too; without
    this look at the error queue (ip(7)) every address behind it would be alive.
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
