"""Names that hosts on the same link give themselves, where the DNS has none: NetBIOS and multicast DNS.

A Windows PC answers NetBIOS, Linux with avahi and Macs multicast DNS. The question of the latter goes to the
whole link at first, one for many addresses, and then to single hosts.
"""

import secrets
import select
import socket
import time
from collections import deque
from dataclasses import dataclass

from labmon.closing import Closing
from labmon.scan.names import netbios
from labmon.scan.names.mdns import Mdns
from labmon.scan.targets.address import is_ipv6

NETBIOS_PORT = 137

SILENCE = 0.6
"""Seconds after which a host on the link will not answer any more."""

TRIES = 2
IN_FLIGHT = 256


@dataclass(slots=True)
class _Question:
    address: str
    identifier: int  # random: only the host that was asked knows it
    until: float
    sent: float = 0.0
    tries: int = 0


class LocalNames(Closing):
    """Looks up names while its caller does something else, like `labmon.scan.names.resolve.Names`.

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
        """How many addresses are asked for and not handed out yet."""
        return len(self._queue) + len(self._flying) + len(self._done)

    def ask(self, address: str, until: float) -> None:
        """Ask that host, and give it up at `until` on the monotonic clock."""
        self._queue.append(_Question(address, secrets.randbelow(1 << 16), until))

    def collect(self) -> list[tuple[str, str | None]]:
        """Send and receive without waiting; hand out (address, name or None)."""
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
        """Return when `collect` has something to do, or after these seconds."""
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
            pass  # the same as no answer

    def _receive(self) -> None:
        for _ in range(4 * IN_FLIGHT):
            try:
                wire, (source, port) = self._netbios.recvfrom(4096)
            except BlockingIOError:
                break
            except OSError:
                continue
            question = self._flying.get(source)
            answer = netbios.read_answer(wire) if question and port == NETBIOS_PORT else None
            if question and answer and answer[0] == question.identifier and answer[1]:
                self._settle(source, answer[1])
        for address, name in self._mdns.receive(self._flying):
            self._settle(address, name)

    def _settle(self, address: str, name: str) -> None:
        if self._flying.pop(address, None):
            self._done.append((address, name))

    def close(self) -> None:
        """Close the sockets."""
        self._netbios.close()
        self._mdns.close()
