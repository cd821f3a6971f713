"""What hosts on the same link call themselves, for want of a name in the DNS: NetBIOS and multicast DNS.

A Windows PC answers the one, Linux with avahi and Macs the other. Multicast DNS is asked of everybody at
first, one question for many, and then host by host.
"""

import secrets
import select
import socket
import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType

from labmon.scan import netbios
from labmon.scan.address import is_ipv6
from labmon.scan.mdns import Mdns

NETBIOS_PORT = 137

SILENCE = 0.6
"""Seconds after which nobody who is one hop away will answer any more."""

TRIES = 2
IN_FLIGHT = 256


@dataclass(slots=True)
class _Question:
    address: str
    identifier: int  # random: only who was asked knows it
    until: float
    sent: float = 0.0
    tries: int = 0


class LocalNames:
    """Looks up names while its caller does something else, as `labmon.scan.names.Names` does.

    Every address asked for is handed out once, with a name or None, at the latest at the time given.
    """

    def __init__(self) -> None:
        self._netbios = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._mdns = Mdns()
        self._queue: deque[_Question] = deque()
        self._flying: dict[str, _Question] = {}
        self._done: list[tuple[str, str | None]] = []

    @property
    def pending(self) -> int:
        """Addresses that are asked for and not handed out."""
        return len(self._queue) + len(self._flying) + len(self._done)

    def ask(self, address: str, until: float) -> None:
        """Ask that host, and give up at `until` on the monotonic clock."""
        self._queue.append(_Question(address, secrets.randbelow(1 << 16), until))

    def collect(self) -> list[tuple[str, str | None]]:
        """Send and receive what can be, without waiting; hand out (address, name or None)."""
        self._receive()
        now = time.monotonic()
        for question in list(self._flying.values()):
            if now >= question.until or now - question.sent >= SILENCE:
                del self._flying[question.address]
                self._done.append((question.address, None))
            elif question.tries < TRIES and now - question.sent >= SILENCE / (TRIES + 1):
                self._send(question)
                self._mdns.ask(question.address)
        new = []
        while self._queue and (len(self._flying) < IN_FLIGHT or self._queue[0].until <= now):
            question = self._queue.popleft()
            self._flying[question.address] = question
            self._send(question)
            new.append(question.address)
        self._mdns.ask_all(new)
        done, self._done = self._done, []
        return done

    def wait(self, seconds: float) -> None:
        """Until `collect` has something to do, or the time is over."""
        sockets = [self._netbios, *self._mdns.sockets]
        select.select(sockets, [], [], 0 if self._done else min(seconds, SILENCE / (TRIES + 1)))

    def _send(self, question: _Question) -> None:
        question.sent = time.monotonic()
        question.tries += 1
        if is_ipv6(question.address):
            return  # NetBIOS knows no IPv6
        try:
            self._netbios.sendto(netbios.question(question.identifier), (question.address, NETBIOS_PORT))
        except OSError:
            pass  # as good as no answer

    def _receive(self) -> None:
        for _ in range(4 * IN_FLIGHT):
            try:
                wire, (source, port) = self._netbios.recvfrom(4096)
            except BlockingIOError:
                break
            except OSError:
                continue
            question = self._flying.get(source)
            told = netbios.read_answer(wire) if question and port == NETBIOS_PORT else None
            if question and told and told[0] == question.identifier and told[1]:
                self._settle(source, told[1])
        for address, name in self._mdns.receive():
            self._settle(address, name)

    def _settle(self, address: str, name: str) -> None:
        if self._flying.pop(address, None):
            self._done.append((address, name))

    def close(self) -> None:
        self._netbios.close()
        self._mdns.close()

    def __enter__(self) -> "LocalNames":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
