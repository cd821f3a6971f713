"""The routers that targets are behind, asked for their MAC before thousands of packets go to them.

The kernel asks for a router's MAC address once a second, three times (arp(7)), and drops what is sent
meanwhile, but for a few packets. A fast sweep would be over by then, and where packets get lost, one sweep in
ten would find no host at all. So a sweep waits until the kernel knows the MAC, and asks for it as well.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from labmon.errors import PermissionNeeded
from labmon.scan.host import Host
from labmon.scan.kernel import ipv6 as links6
from labmon.scan.kernel.links import neighbours
from labmon.scan.kernel.neighbours6 import neighbours6
from labmon.scan.kernel.route import ROUTES, longest_first, parse_routes
from labmon.scan.methods.ping import PingSocket
from labmon.scan.targets.address import is_ipv6, number, text
from labmon.scan.wire.echo import Echo

if TYPE_CHECKING:
    from labmon.scan.kernel.link_socket import LinkSocket

WAIT = 3.5
"""Seconds for a router to answer: a little more than the kernel gives it."""

OWN_ASKING = 0.25
"""Seconds after which we ask beside the kernel: a router on the link answers in a tenth of that."""

LOOK = 0.01
"""Seconds between two looks at what the kernel knows."""

DEVICES = Path("/sys/class/net")

_NO_ARP = 0x80  # IFF_NOARP


@dataclass(frozen=True, slots=True)
class Router:
    """A router on an Ethernet of this machine."""

    address: str  #: with its zone
    device: str
    behind: str  #: one of the targets that are sent to it


def resolve_gateways(targets: Sequence[str], sock: PingSocket, stop: Event) -> Iterator[list[Host]]:
    """Return when the kernel knows the MAC addresses of the routers of these targets, at the latest after
    `WAIT`.

    The targets are of one family, that of the socket. Yields only empty lists.
    """
    waiting = [one for one in routers(targets) if one.address != one.behind]
    ipv6 = any(is_ipv6(one.address) for one in waiting)
    echo = Echo(sock.identifier, os.urandom(8), ipv6=ipv6)
    began, looks = time.monotonic(), 0
    with ExitStack() as stack:
        links: dict[str, LinkSocket] | None = None
        while waiting and (waited := time.monotonic() - began) < WAIT and not stop.is_set():
            known = neighbours6() if ipv6 else neighbours()
            waiting = [one for one in waiting if one.address not in known]
            if looks % 100 == 0:  # the kernel asks when it has something to send, and gives up after a while
                for one in waiting:
                    with suppress(OSError):
                        sock.send(echo.question(0, 0, time.time_ns()), one.behind)
            if waited > OWN_ASKING and looks % 10 == 0:
                if links is None:
                    links = {one.address: link for one in waiting if (link := _link(one, stack))}
                for one in waiting:
                    if one.address in links:
                        with suppress(OSError):
                            links[one.address].send(one.address)  # the kernel hears the answer too
            looks += 1
            if waiting:
                time.sleep(LOOK)
                yield []


def _link(router: Router, stack: ExitStack) -> "LinkSocket | None":
    """A socket to ask for its MAC with. None where this account may not open one."""
    from labmon.scan.kernel.link_socket import NoEthernet
    from labmon.scan.methods.arp import ArpSocket
    from labmon.scan.methods.ndp import NdpSocket

    kind = NdpSocket if is_ipv6(router.address) else ArpSocket
    try:
        return stack.enter_context(kind(router.device, router.address))
    except (PermissionNeeded, NoEthernet):
        return None


def routers(targets: Sequence[str]) -> list[Router]:
    """Each router once. Of targets that are spans, the first address of each is looked up."""
    try:
        table = parse_routes(ROUTES.read_text())
    except OSError:
        table = []
    table = longest_first(table + links6.routes())
    spans = getattr(targets, "spans", None)
    firsts = [text(first) for first, _ in spans] if spans else targets[:1]
    found: dict[str, Router] = {}
    for address in firsts:
        if ip_address(address).is_loopback:  # in the kernel's local table, which comes before these routes
            continue
        place = number(address)
        route = next((route for route in table if route.first <= place <= route.last), None)
        if route and route.router and _is_ethernet(route.outward):
            found.setdefault(route.router, Router(route.router, route.outward, address))
    return list(found.values())


def _is_ethernet(device: str) -> bool:
    try:
        folder = DEVICES / device
        return (folder / "type").read_text().strip() == "1" and not (
            int((folder / "flags").read_text(), 16) & _NO_ARP
        )
    except (OSError, ValueError):
        return False
