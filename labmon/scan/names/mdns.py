"""Multicast DNS: one question to a whole link, which each host answers for itself (RFC 6762).

The questions come from a port of our own, so that hosts answer us alone (section 6.7), and an mDNS daemon of
this machine does no harm.
"""

import heapq
import secrets
import socket
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence

from labmon.scan.kernel import ipv6 as links6
from labmon.scan.kernel.ipv6 import socket_address, with_zone
from labmon.scan.names import ptr
from labmon.scan.targets.address import is_ipv6

PORT = 5353
GROUP, GROUP6 = "224.0.0.251", "ff02::fb"

AT_ONCE = 24
"""Addresses in one question: with IPv6 names, which are the longest, it fits into a packet of an Ethernet."""

ANSWERS_EACH = 4
"""Answers of one host that are decoded. It is asked three times at most, and one answer is enough."""

AT_A_TIME = 0.05
"""Seconds that decoding may take before control goes back to the sweep."""


class Mdns:
    """Asks for the names of hosts on our links, by multicast or one by one. Does not wait."""

    def __init__(self) -> None:
        self._sockets = {ipv6: sock for ipv6 in (False, True) if (sock := _open(ipv6))}
        self._asked: set[int] = set()
        """Identifiers of our questions, which only hosts that received one know."""
        self._received: Counter[str] = Counter()
        self._waiting: list[tuple[int, str, bytes]] = []  # a heap: the first answers of all hosts come first

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """To wait for."""
        return list(self._sockets.values())

    def ask_all(self, addresses: Iterable[str]) -> None:
        """Ask all hosts of the links of these addresses, in one question for each two dozen."""
        groups: dict[tuple[bool, str], list[str]] = {}
        for address in addresses:
            if (link := _link(address)) is not None:
                groups.setdefault((is_ipv6(address), link), []).append(address)
        for (ipv6, link), several in groups.items():
            sock = self._sockets.get(ipv6)
            if sock is None:
                continue
            try:
                to: tuple[str | int, ...] = GROUP, PORT
                if ipv6:
                    to = socket_address(f"{GROUP6}%{link}", PORT)
                else:
                    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(link))
                for start in range(0, len(several), AT_ONCE):
                    sock.sendto(self._question(several[start : start + AT_ONCE]), to)
            except OSError:
                pass  # the same as no answer

    def ask(self, address: str) -> None:
        """Ask one host itself: multicast over wireless is often lost."""
        sock = self._sockets.get(is_ipv6(address))
        if sock is not None:
            try:
                sock.sendto(
                    self._question([address]), socket_address(address, PORT)[: 4 if is_ipv6(address) else 2]
                )
            except OSError:
                pass

    def _question(self, addresses: Sequence[str]) -> bytes:
        identifier = secrets.randbelow(1 << 16)
        self._asked.add(identifier)
        return ptr.questions(addresses, identifier)

    def receive(self, wanted: Container[str], limit: int = 1024) -> Iterator[tuple[str, str]]:
        """(address, name) of hosts that have answered since. Does not wait.

        Only what a host says of its own address counts, and only of `wanted` addresses. Other messages, and
        more than `ANSWERS_EACH` of one host, are dropped before they are decoded, which is slow; a host that
        sends many waits until the first ones of the others are decoded.
        """
        deadline = time.monotonic() + AT_A_TIME
        for sock in self._sockets.values():
            for _ in range(limit):
                try:
                    wire, (source, port, *more) = sock.recvfrom(9000)
                except BlockingIOError:
                    break
                except OSError:
                    continue
                address = _with_zone(source, more)
                if port != PORT or address not in wanted or ptr.identifier_of(wire) not in self._asked:
                    continue
                self._received[address] += 1
                if self._received[address] <= ANSWERS_EACH:
                    heapq.heappush(self._waiting, (self._received[address], address, wire))
        while self._waiting and time.monotonic() < deadline:
            _, address, wire = heapq.heappop(self._waiting)
            found = ptr.read_names(wire) if address in wanted else None
            name = found.names.get(address.partition("%")[0]) if found else None
            if name:
                yield address, name

    def close(self) -> None:
        """Close the sockets."""
        for sock in self._sockets.values():
            sock.close()


def _open(ipv6: bool) -> socket.socket | None:
    try:
        sock = socket.socket(
            socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        )
    except OSError:  # no IPv6 here
        return None
    if ipv6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    return sock


def _with_zone(source: str, more: Sequence[int]) -> str:
    """The address with its zone, which the socket gives as a number beside it."""
    try:
        return with_zone(source, socket.if_indextoname(more[1])) if more and more[1] else source
    except OSError:  # the interface was removed a moment ago
        return source


def _link(address: str) -> str | None:
    """What stands for the link of that address: for IPv4 our own address there, for IPv6 the device."""
    ipv6 = is_ipv6(address)
    zone = address.partition("%")[2]
    if zone:
        return zone
    try:
        with socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((address, PORT))  # sends nothing
            own: str = sock.getsockname()[0]
    except OSError:
        return None
    return next((one.device for one in links6.own() if one.address == own), None) if ipv6 else own
