"""Details of the hosts that were found, by one ping and one connection to each port.

They add what the first answer did not show: the TTL, further ways in which a host answers, open ports.
"""

import errno
import os
import selectors
import socket
import time
from collections import deque
from dataclasses import dataclass, field, replace

from labmon.closing import Closing
from labmon.config.tables import ScanConfig
from labmon.errors import PermissionNeeded
from labmon.scan.host import Host
from labmon.scan.methods.ping import PingSocket
from labmon.scan.methods.ping6 import PingSocket6
from labmon.scan.methods.tcp import ANSWERS, connect_nonblocking, max_sockets, refused_by_another
from labmon.scan.pacing.rate import RateLimiter
from labmon.scan.pacing.timeout import AT_THE_END, SLOWER
from labmon.scan.targets.address import is_ipv6
from labmon.scan.wire.echo import Echo


@dataclass(slots=True, eq=False)
class _Task:
    host: Host
    number: int
    deadline: float  # when answers that are still missing are given up
    missing: int = 0  # answers
    open: list[int] = field(default_factory=list)
    attempts: list[socket.socket] = field(default_factory=list)


class HostEnricher(Closing):
    """Works while its caller does something else: `add` hosts, then `collect` now and then.

    Every host comes back once, at the latest a timeout after its turn has come, with answers or without.
    """

    def __init__(self, settings: ScanConfig, limiter: RateLimiter) -> None:
        self._settings = settings
        self._limiter = limiter
        self._ports = list(dict.fromkeys(settings.tcp_ports))
        self._token = os.urandom(8)
        self._pings: dict[bool, tuple[PingSocket, Echo] | None] = {}  # of IPv6?, as the first host needs it
        self._queue: deque[Host] = deque()
        self._tasks: dict[int, _Task] = {}
        self._by_age: deque[_Task] = deque()  # ended ones too, until their time
        self._done: list[Host] = []
        self._count = 0
        self._sockets = 0
        # Half, since a sweep by TCP may be going on at the same time.
        self._max = max_sockets() // 2
        self._selector = selectors.DefaultSelector()

    @property
    def pending(self) -> int:
        """How many hosts are added and not handed out yet."""
        return len(self._queue) + len(self._tasks) + len(self._done)

    def add(self, host: Host) -> None:
        """Ask this host for its details."""
        self._queue.append(host)

    def collect(self, seconds: float = 0.0) -> list[Host]:
        """Send and receive, wait no longer than these seconds, and hand out the hosts that are done."""
        if self._tasks:
            for key, _ in self._selector.select(0 if self._done else seconds):
                task, port = key.data
                self._connected(task, port, key.fileobj)
            self._receive()
        elif self._queue and not self._done:
            time.sleep(min(seconds, self._limiter.pause()))
        now = time.monotonic()
        while self._by_age and (self._by_age[0].deadline <= now or self._by_age[0].number not in self._tasks):
            self._finish(self._by_age.popleft())
        while self._queue and self._sockets + len(self._ports) <= max(self._max, len(self._ports)):
            if self._limiter.pause():
                break
            self._begin(self._queue.popleft())
        done, self._done = self._done, []
        return done

    def give_up(self) -> list[Host]:
        """Ask no more, and hand out all that are left as they are."""
        left = [*self._done, *(self._seen(task) for task in self._tasks.values()), *self._queue]
        self._done.clear()
        self._queue.clear()
        for task in list(self._tasks.values()):
            self._finish(task)
        self._done.clear()
        return left

    def _begin(self, host: Host) -> None:
        wait = min(self._settings.timeout, max(AT_THE_END, SLOWER * (host.rtt or 0.0)))
        task = _Task(host, self._count, time.monotonic() + wait)
        self._count += 1
        self._tasks[task.number] = task
        self._by_age.append(task)
        ping = self._ping_socket(is_ipv6(host.address)) if host.seen != "ping" else None
        if ping:
            sock, echo = ping
            try:
                sock.send(echo.question(0, task.number, time.time_ns()), host.address)
                task.missing += 1
            except OSError:
                pass
            self._limiter.spend(1)
        for port in self._ports:
            if host.seen == f"tcp/{port}":
                continue  # that one is known
            try:
                attempt, trouble = connect_nonblocking(host.address, port)
            except OSError:
                break  # no more files may be opened: do without the ports
            self._limiter.spend(1)
            if trouble == errno.EINPROGRESS:
                task.missing += 1
                task.attempts.append(attempt)
                self._sockets += 1
                self._selector.register(attempt, selectors.EVENT_WRITE, (task, port))
                continue
            attempt.close()  # ended at once, as on loopback, or never sent
            if trouble == 0:
                task.open.append(port)
        if not task.missing:
            self._finish(task)

    def _ping_socket(self, ipv6: bool) -> tuple[PingSocket, Echo] | None:
        """The socket to ping with; None where this account may not."""
        if ipv6 not in self._pings:
            try:
                sock = PingSocket6() if ipv6 else PingSocket()
            except PermissionNeeded:
                self._pings[ipv6] = None
            else:
                self._pings[ipv6] = sock, Echo(sock.identifier, self._token, ipv6=ipv6)
        return self._pings[ipv6]

    def _connected(self, task: _Task, port: int, sock: object) -> None:
        assert isinstance(sock, socket.socket)
        if sock.fileno() < 0:
            return
        trouble = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if trouble == 0:
            task.open.append(port)
        silent = trouble not in ANSWERS or refused_by_another(sock, task.host.address)
        self._drop(task, sock)
        if not silent:
            task.missing -= 1
            if not task.missing:
                self._finish(task)

    def _receive(self) -> None:
        for ping in filter(None, self._pings.values()):
            self._receive_from(*ping)

    def _receive_from(self, sock: PingSocket, echo: Echo) -> None:
        for packet in sock.receive():
            reply = echo.read(packet.message)
            task = self._tasks.get(reply.number) if reply else None
            if reply is None or task is None or task.host.address != packet.source:
                continue
            if "ping" in task.host.also:
                continue
            took = (packet.at - reply.sent) / 1e9
            task.host = replace(
                task.host,
                ttl=packet.ttl,
                also=(*task.host.also, "ping"),
                rtt=task.host.rtt if task.host.rtt is not None else max(0.0, took),
            )
            task.missing -= 1
            if not task.missing:
                self._finish(task)

    def _drop(self, task: _Task, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        task.attempts.remove(sock)
        sock.close()
        self._sockets -= 1

    def _finish(self, task: _Task) -> None:
        """Hand it out. Harmless when that was done before."""
        if self._tasks.pop(task.number, None) is None:
            return
        for sock in list(task.attempts):
            self._drop(task, sock)
        self._done.append(self._seen(task))

    @staticmethod
    def _seen(task: _Task) -> Host:
        host, ports = task.host, sorted(task.open)
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
