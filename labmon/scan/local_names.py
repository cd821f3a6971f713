"""What hosts on the same link call themselves, for want of a name in the DNS: NetBIOS and multicast DNS.

Both are asked directly, not by multicast: a Windows PC answers the one, Linux with avahi and Macs the other.
"""

import secrets
import select
import socket
import time
from collections import deque
from dataclasses import dataclass
from types import TracebackType

from labmon.scan import netbios, ptr

NETBIOS_PORT = 137
MDNS_PORT = 5353

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
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
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
        while self._queue and (len(self._flying) < IN_FLIGHT or self._queue[0].until <= now):
            question = self._queue.popleft()
            self._flying[question.address] = question
            self._send(question)
        done, self._done = self._done, []
        return done

    def wait(self, seconds: float) -> None:
        """Until `collect` has something to do, or the time is over."""
        select.select([self._socket], [], [], 0 if self._done else min(seconds, SILENCE / (TRIES + 1)))

    def _send(self, question: _Question) -> None:
        question.sent = time.monotonic()
        question.tries += 1
        for port, message in (
            (NETBIOS_PORT, netbios.question(question.identifier)),
            (MDNS_PORT, ptr.question(question.address, question.identifier)),
        ):
            try:
                self._socket.sendto(message, (question.address, port))
            except OSError:
                pass  # as good as no answer

    def _receive(self) -> None:
        for _ in range(4 * IN_FLIGHT):
            try:
                wire, (source, port, *_) = self._socket.recvfrom(4096)
            except BlockingIOError:
                return
            except OSError:
                continue
            question = self._flying.get(source)
            if question is None:
                continue
            name = _name(wire, port, question)
            if name:
                del self._flying[source]
                self._done.append((source, name))

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "LocalNames":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _name(wire: bytes, port: int, question: _Question) -> str | None:
    """What the message says, if it is that host's answer to that question."""
    if port == NETBIOS_PORT:
        told = netbios.read_answer(wire)
        return told[1] if told and told[0] == question.identifier else None
    if port == MDNS_PORT:
        answer = ptr.read_answer(wire)
        asked = question.identifier, question.address
        return answer.name if answer and (answer.identifier, answer.address) == asked else None
    return None
