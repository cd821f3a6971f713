"""The hosts of a link, found by one ICMPv6 echo request to all nodes (RFC 4291, section 2.7.1).

An IPv6 network has more addresses than can be asked one by one, but its hosts can be asked all at once.
Windows does not answer such a request; but a request with an unknown option brings an error, as of any host.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from threading import Event

from labmon.config.tables import ScanConfig
from labmon.scan.host import Host
from labmon.scan.methods.ping import host_of
from labmon.scan.methods.ping6 import PingSocket6
from labmon.scan.pacing.rate import TICK
from labmon.scan.pacing.retries import RetryPolicy
from labmon.scan.pacing.timeout import AdaptiveTimeout
from labmon.scan.targets.target_set import ALL_NODES
from labmon.scan.wire.echo import Echo

MOST = 65536
"""Answers that are accepted. More do not come from a network, but from a forger."""


class MulticastPing:
    """Asks from each of our addresses on the link, and again for as long as `RetryPolicy` says.

    A host answers from an address of the network that the question came from, so each network of the link is
    asked from our address in it.

    Iterate it once. Yields the hosts that have answered since the last list, often none, each address once
    and without its MAC. Raises PermissionNeeded.
    """

    def __init__(self, device: str, sources: Sequence[str], settings: ScanConfig, stop: Event) -> None:
        """`sources` are this machine's addresses on that link, link-local ones with their zone."""
        self._all = f"{ALL_NODES}%{device}"
        self._sources = sources
        self._retries = settings.retries
        self._timeout = AdaptiveTimeout(settings.timeout)
        self._stop = stop
        self._found: set[str] = set()
        self.trouble: str | None = "this machine has no address there"
        """Why nothing could be sent; None when something was. Known after the first list."""

    def __iter__(self) -> Iterator[list[Host]]:
        with ExitStack() as stack:
            asked = []
            for source in self._sources:
                with suppress(OSError):  # the address was removed a moment ago
                    sock = stack.enter_context(PingSocket6(source))
                    asked.append((sock, Echo(sock.identifier, os.urandom(8), ipv6=True)))
            if not asked:
                return
            retries = RetryPolicy()
            for round_ in range(1 + self._retries):
                for sock, echo in asked:
                    try:
                        sock.send(echo.question(round_, 0, time.time_ns()), self._all)
                        self.trouble = None
                    except OSError as error:
                        if self.trouble is not None:
                            self.trouble = error.strerror
                    with suppress(OSError):  # or this account may not send options
                        sock.send_odd(echo.question(round_, 0, time.time_ns()), self._all)
                heard = self._timeout.between
                yield from self._listen(asked, heard)
                if self._stop.is_set() or not retries.goes_on(len(self._found)):
                    break
            yield from self._listen(asked, self._timeout.at_the_end - heard)

    def _listen(self, asked: Sequence[tuple[PingSocket6, Echo]], seconds: float) -> Iterator[list[Host]]:
        deadline = time.monotonic() + seconds
        while not self._stop.is_set() and (left := deadline - time.monotonic()) > 0:
            asked[0][0].wait(min(left, TICK / len(asked)))
            yield [host for sock, echo in asked for host in self._receive(sock, echo)]

    def _receive(self, sock: PingSocket6, echo: Echo) -> Iterator[Host]:
        for packet in sock.receive():
            reply = echo.read(packet.message) or echo.read_error(packet.message)
            if reply is None or packet.source in self._found or len(self._found) >= MOST:
                continue
            found = host_of(packet, reply)
            self._found.add(packet.source)
            self._timeout.observe(found.rtt)
            yield found
