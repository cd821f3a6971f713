"""A closer look at the hosts that were found: one ping, and a knock at each port.

It adds what the first answer did not tell: the TTL, further ways in which a host can be seen, open ports.
"""

import errno
import os
import selectors
import socket
import time
from collections import deque
from dataclasses import dataclass, field, replace
from types import TracebackType

from labmon.config import Scan
from labmon.errors import PermissionNeeded
from labmon.scan.address import is_ipv6
from labmon.scan.echo import Echo
from labmon.scan.host import Host
from labmon.scan.icmp import PingSocket
from labmon.scan.icmp6 import PingSocket6
from labmon.scan.pace import Pace
from labmon.scan.tcp import ANSWERS, knock, most_sockets, said_by_another
from labmon.scan.timing import AT_THE_END, SLOWER


@dataclass(slots=True, eq=False)
class _Look:
    host: Host
    number: int
    until: float  # when what is still missing is given up
    missing: int = 0  # answers
    open: list[int] = field(default_factory=list)
    attempts: list[socket.socket] = field(default_factory=list)


class Closer:
    """Looks at hosts while its caller does something else: `ask`, then `collect` now and then.

    Every host asked for is handed out once, at the latest a moment after its turn has come. What gives no
    answer to one question is left out: a host is none the worse for it.
    """

    def __init__(self, settings: Scan, pace: Pace) -> None:
        self._settings = settings
        self._pace = pace
        self._ports = list(dict.fromkeys(settings.tcp_ports))
        self._token = os.urandom(8)
        self._pings: dict[bool, tuple[PingSocket, Echo] | None] = {}  # of IPv6?, as the first host needs it
        self._queue: deque[Host] = deque()
        self._looks: dict[int, _Look] = {}
        self._by_age: deque[_Look] = deque()  # ended ones too, until their time
        self._done: list[Host] = []
        self._count = 0
        self._sockets = 0
        # Half, since a sweep by TCP may be going on at the same time.
        self._most = most_sockets() // 2
        self._selector = selectors.DefaultSelector()

    @property
    def pending(self) -> int:
        """Hosts that are asked for and not handed out."""
        return len(self._queue) + len(self._looks) + len(self._done)

    def ask(self, host: Host) -> None:
        """Look at this one."""
        self._queue.append(host)

    def collect(self, seconds: float = 0.0) -> list[Host]:
        """Send and receive what can be, waiting no longer than that; hand out who is done with."""
        if self._looks:
            for key, _ in self._selector.select(0 if self._done else seconds):
                look, port = key.data
                self._knocked(look, port, key.fileobj)
            self._hear()
        elif self._queue and not self._done:
            time.sleep(min(seconds, self._pace.pause()))
        now = time.monotonic()
        while self._by_age and (self._by_age[0].until <= now or self._by_age[0].number not in self._looks):
            self._finish(self._by_age.popleft())
        while self._queue and self._sockets + len(self._ports) <= max(self._most, len(self._ports)):
            if self._pace.pause():
                break
            self._begin(self._queue.popleft())
        done, self._done = self._done, []
        return done

    def give_up(self) -> list[Host]:
        """Ask nobody any more, and hand out all that are left as they are."""
        left = [*self._done, *(self._seen(look) for look in self._looks.values()), *self._queue]
        self._done.clear()
        self._queue.clear()
        for look in list(self._looks.values()):
            self._finish(look)
        self._done.clear()
        return left

    def _begin(self, host: Host) -> None:
        wait = min(self._settings.timeout, max(AT_THE_END, SLOWER * (host.rtt or 0.0)))
        look = _Look(host, self._count, time.monotonic() + wait)
        self._count += 1
        self._looks[look.number] = look
        self._by_age.append(look)
        ping = self._pinging(is_ipv6(host.address)) if host.seen != "ping" else None
        if ping:
            sock, echo = ping
            try:
                sock.send(echo.question(0, look.number, time.time_ns()), host.address)
                look.missing += 1
            except OSError:
                pass
            self._pace.spend(1)
        for port in self._ports:
            if host.seen == f"tcp/{port}":
                continue  # that one is known
            try:
                attempt, trouble = knock(host.address, port)
            except OSError:
                break  # no more files: the ports are a bonus
            self._pace.spend(1)
            if trouble == errno.EINPROGRESS:
                look.missing += 1
                look.attempts.append(attempt)
                self._sockets += 1
                self._selector.register(attempt, selectors.EVENT_WRITE, (look, port))
                continue
            attempt.close()  # settled at once, as on loopback, or never sent
            if trouble == 0:
                look.open.append(port)
        if not look.missing:
            self._finish(look)

    def _pinging(self, ipv6: bool) -> tuple[PingSocket, Echo] | None:
        """What to ping with; None where this account may not."""
        if ipv6 not in self._pings:
            try:
                sock = PingSocket6() if ipv6 else PingSocket()
            except PermissionNeeded:
                self._pings[ipv6] = None
            else:
                self._pings[ipv6] = sock, Echo(sock.identifier, self._token, ipv6=ipv6)
        return self._pings[ipv6]

    def _knocked(self, look: _Look, port: int, sock: object) -> None:
        assert isinstance(sock, socket.socket)
        if sock.fileno() < 0:
            return
        trouble = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if trouble == 0:
            look.open.append(port)
        silent = trouble not in ANSWERS or said_by_another(sock, look.host.address)
        self._drop(look, sock)
        if not silent:
            look.missing -= 1
            if not look.missing:
                self._finish(look)

    def _hear(self) -> None:
        for ping in filter(None, self._pings.values()):
            self._hear_from(*ping)

    def _hear_from(self, sock: PingSocket, echo: Echo) -> None:
        for packet in sock.receive():
            reply = echo.read(packet.message)
            look = self._looks.get(reply.number) if reply else None
            if reply is None or look is None or look.host.address != packet.source:
                continue
            if "ping" in look.host.also:
                continue
            took = (packet.at - reply.sent) / 1e9
            look.host = replace(
                look.host,
                ttl=packet.ttl,
                also=(*look.host.also, "ping"),
                rtt=look.host.rtt if look.host.rtt is not None else max(0.0, took),
            )
            look.missing -= 1
            if not look.missing:
                self._finish(look)

    def _drop(self, look: _Look, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        look.attempts.remove(sock)
        sock.close()
        self._sockets -= 1

    def _finish(self, look: _Look) -> None:
        """Hand it out. Harmless when that was done before."""
        if self._looks.pop(look.number, None) is None:
            return
        for sock in list(look.attempts):
            self._drop(look, sock)
        self._done.append(self._seen(look))

    @staticmethod
    def _seen(look: _Look) -> Host:
        host, ports = look.host, sorted(look.open)
        known = [int(host.seen.removeprefix("tcp/"))] if host.port_open else []
        return replace(
            host,
            also=(*host.also, *(f"tcp/{port}" for port in ports)),
            ports=tuple(sorted({*known, *ports})),
        )

    def close(self) -> None:
        """Close every socket."""
        self.give_up()
        self._selector.close()
        for ping in filter(None, self._pings.values()):
            ping[0].close()

    def __enter__(self) -> "Closer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
