"""An ARP sweep of one link: a machine that has an address must answer, whatever its firewall drops."""

import socket
import time
from array import array
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from labmon.scan.host import Host
from labmon.scan.kernel.constants import ETH_P_ARP
from labmon.scan.kernel.link_socket import Frames, LinkSocket
from labmon.scan.methods.context import SweepContext
from labmon.scan.methods.rounds import ProbeRounds
from labmon.scan.pacing.timeout import AdaptiveTimeout
from labmon.scan.wire.arp_frame import ArpFrames


class ArpSocket(LinkSocket):
    """Sends and receives ARP on one interface."""

    protocol = ETH_P_ARP
    family = socket.AF_INET
    what = "ARP"

    def _make_frames(self, mac: str, address: str) -> Frames:
        return ArpFrames(mac, address)


class Arp(ProbeRounds):
    """A sweep by ARP. All targets must be on the socket's link."""

    phase = "arp"

    def __init__(
        self,
        sock: LinkSocket,
        targets: Sequence[str],
        context: SweepContext,
        timeout: AdaptiveTimeout | None = None,
    ) -> None:
        super().__init__(targets, context, timeout)
        self._socket = sock
        self._numbers = {address: number for number, address in enumerate(targets)}
        self._sent = array("q", bytes(8 * len(targets)))  # nanoseconds since the epoch, of the last question
        self._macs: dict[str, str] = {}
        self.claimed_twice: dict[str, tuple[str, str]] = {}
        """Addresses for which two network cards answered: two machines by mistake, or one that has both."""

    def _put(self, round_: int, number: int, address: str) -> None:
        self._sent[number] = time.time_ns()  # before sending, which on a virtual cable brings the answer
        self._socket.send(address)

    def _wait(self, seconds: float) -> None:
        self._socket.wait(seconds)

    def _take(self) -> Iterator[tuple[int, Host]]:
        for address, mac, at in self._socket.receive():
            number = self._numbers.get(address)
            if number is None:
                continue  # an answer to another machine's question, or a forgery
            if mac is not None:
                first = self._macs.setdefault(address, mac)
                if first != mac:
                    self.claimed_twice.setdefault(address, (first, mac))
            took = (at - self._sent[number]) / 1e9
            seen_at = datetime.fromtimestamp(at / 1e9, UTC)
            # Negative when the clock was set back meanwhile.
            yield number, Host(address, self.phase, seen_at, rtt=took if took >= 0 else None, mac=mac)
