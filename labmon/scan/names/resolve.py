"""Host names of addresses: /etc/hosts, then reverse DNS, many at a time, each with a limit."""

import secrets
import select
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from labmon.closing import Closing
from labmon.scan.names import ptr
from labmon.scan.names.hostname import parse_hosts

IN_FLIGHT = 128
"""Questions at a time. dnsmasq, which serves many a lab, refuses more than 150 (--dns-forward-max)."""

DNS_PORT = 53


@dataclass(slots=True, eq=False)
class _Question:
    address: str
    asked: float  # by the caller; the limit counts from here
    sent: float = 0.0
    tries: int = 0
    server: socket.socket | None = None  #: that was asked last


class Names(Closing):
    """Looks up names while its caller does something else: `ask`, then `collect` now and then.

    Every address asked for is handed out once, with a name or None, at most `limit` seconds after it was
    asked for. Servers that answer nothing at all for that long are given up.
    """

    def __init__(self, limit: float, servers: Sequence[tuple[str, int]], known: Mapping[str, str]) -> None:
        """`servers` are numeric addresses with their ports; `known` names need no server."""
        self._limit = limit
        self._known = known
        self._sockets = [sock for server in servers if (sock := _connected(*server))]
        self._queue: deque[_Question] = deque()
        self._flying: dict[int, _Question] = {}  # by message id
        self._done: list[tuple[str, str | None]] = []
        self._answers = 0
        self.silent = False
        """Whether the servers were given up because they never answered."""

    @classmethod
    def of_this_machine(cls, limit: float) -> "Names":
        """With /etc/hosts and the servers in /etc/resolv.conf; either may be missing."""
        try:
            known = parse_hosts(Path("/etc/hosts").read_text(errors="surrogateescape"))
        except OSError:
            known = {}
        return cls(limit, [(server, DNS_PORT) for server in ptr.servers()], known)

    @property
    def pending(self) -> int:
        """How many addresses are asked for and not handed out yet."""
        return len(self._queue) + len(self._flying) + len(self._done)

    def ask(self, address: str) -> None:
        """Look this one up."""
        place = ip_address(address)
        # No server knows these, and none should be asked (RFC 6303, section 4.2).
        private_to_machine = place.is_loopback or place.is_link_local
        if address in self._known or private_to_machine or not self._sockets:
            self._done.append((address, self._known.get(address)))
        else:
            self._queue.append(_Question(address, time.monotonic()))

    def collect(self) -> list[tuple[str, str | None]]:
        """Send and receive without waiting; hand out (address, name or None)."""
        self._receive()
        self._expire()
        while self._queue and len(self._flying) < IN_FLIGHT and self._sockets:
            while (identifier := secrets.randbelow(1 << 16)) in self._flying:
                pass
            self._flying[identifier] = self._queue.popleft()
            self._send(identifier)
        done, self._done = self._done, []
        return done

    def wait(self, seconds: float) -> None:
        """Return when `collect` has something to do, or after these seconds."""
        if self._done or not self._sockets:
            return
        poll = select.poll()
        for sock in self._sockets:
            poll.register(sock, select.POLLIN)
        poll.poll(seconds * 1000)

    def _send(self, identifier: int) -> None:
        question = self._flying[identifier]
        # The second try goes to the second server, if any. A late answer of the first one still counts.
        server = question.server = self._sockets[question.tries % len(self._sockets)]
        question.sent = time.monotonic()
        question.tries += 1
        try:
            server.send(ptr.question(question.address, identifier))
        except BlockingIOError:
            pass  # the same as lost on the way: it is sent once more
        except OSError:
            self._drop(server)

    def _receive(self) -> None:
        for sock in list(self._sockets):
            for _ in range(4 * IN_FLIGHT):
                try:
                    wire = sock.recv(4096)
                except BlockingIOError:
                    break
                except OSError:  # the socket is connected, so this means that nothing listens there
                    self._drop(sock)
                    break
                self._settle(wire)

    def _settle(self, wire: bytes) -> None:
        answer = ptr.read_answer(wire) if ptr.identifier_of(wire) in self._flying else None
        question = self._flying.get(answer.identifier) if answer else None
        if not answer or not question or question.address != answer.address:
            return
        del self._flying[answer.identifier]
        self._answers += 1
        if answer.try_another and question.tries < 2:
            self._queue.appendleft(question)
        else:
            self._done.append((question.address, answer.name))

    def _expire(self) -> None:
        now = time.monotonic()
        for identifier, question in list(self._flying.items()):
            if identifier not in self._flying:
                continue  # a server was dropped a moment ago, with what it was asked
            if now - question.asked >= self._limit:
                if not self._answers:
                    self._give_up()
                    return
                del self._flying[identifier]
                self._done.append((question.address, None))
            elif question.tries < 2 and now - question.sent >= self._limit / 3:
                self._send(identifier)
        while self._queue and now - self._queue[0].asked >= self._limit:
            self._done.append((self._queue.popleft().address, None))

    def _drop(self, sock: socket.socket) -> None:
        """Stop using this server, and ask the others its questions."""
        if sock not in self._sockets:
            return
        self._sockets.remove(sock)
        sock.close()
        if not self._sockets:
            self._give_up()
            return
        for identifier, question in list(self._flying.items()):
            if question.server is sock:
                del self._flying[identifier]
                question.tries -= 1
                self._queue.appendleft(question)

    def _give_up(self) -> None:
        self.silent = not self._answers
        self._done += [(question.address, None) for question in (*self._flying.values(), *self._queue)]
        self._flying.clear()
        self._queue.clear()
        self.close()

    def close(self) -> None:
        """Send no more questions. What has been handed out stays valid."""
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()


def _connected(host: str, port: int) -> socket.socket | None:
    """A socket that receives from that server only, or None when there is no route to it."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )[0]
        sock = socket.socket(family, kind)
    except OSError:
        return None
    try:
        sock.setblocking(False)
        sock.connect(address)
    except OSError:
        sock.close()
        return None
    return sock
