"""Multicast DNS: one question to a whole link, which each host answers for itself (RFC 6762).

Asked from a port of our own, so that hosts answer us alone (section 6.7), and no mDNS daemon of this machine
stands in the way.
"""

import secrets
import socket
from collections.abc import Iterable, Iterator, Sequence

from labmon.scan import links6, ptr
from labmon.scan.address import is_ipv6
from labmon.scan.links6 import socket_address, with_zone

PORT = 5353
GROUP, GROUP6 = "224.0.0.251", "ff02::fb"

AT_ONCE = 24
"""Addresses in one question: with IPv6 names, which are the longest, it fits into a packet of an Ethernet."""


class Mdns:
    """Asks for the names of hosts on our links, by multicast or one by one. Does not wait."""

    def __init__(self) -> None:
        self._sockets = {ipv6: sock for ipv6 in (False, True) if (sock := _open(ipv6))}
        self._asked: set[int] = set()
        """Identifiers of our questions, which only who heard them knows."""

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """To be waited for."""
        return list(self._sockets.values())

    def ask_all(self, addresses: Iterable[str]) -> None:
        """One question for each two dozen, to everybody on the link that they are on."""
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
                pass  # as good as no answer

    def ask(self, address: str) -> None:
        """The same question to one host: multicast over wireless is often lost."""
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

    def receive(self, limit: int = 1024) -> Iterator[tuple[str, str]]:
        """(address, name): what hosts have said of themselves since. A host speaks for no other's address."""
        for sock in self._sockets.values():
            for _ in range(limit):
                try:
                    wire, (source, port, *more) = sock.recvfrom(9000)
                except BlockingIOError:
                    break
                except OSError:
                    continue
                told = ptr.read_names(wire) if port == PORT else None
                if told and told.identifier in self._asked and source in told.names:
                    yield _whole(source, more), told.names[source]

    def close(self) -> None:
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


def _whole(source: str, more: Sequence[int]) -> str:
    """With its zone, which comes as a number beside it."""
    return with_zone(source, socket.if_indextoname(more[1])) if more and more[1] else source


def _link(address: str) -> str | None:
    """What names the link to that address: for IPv4 our own address there, for IPv6 the device."""
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
