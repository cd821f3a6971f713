"""An ARP sweep of one link: who has an address must answer, whatever its firewall says."""

import socket
import time
from array import array
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from threading import Event

from labmon.config import Scan
from labmon.scan.arp_frame import ArpFrames
from labmon.scan.host import Host
from labmon.scan.link_socket import Frames, LinkSocket
from labmon.scan.linux import ETH_P_ARP
from labmon.scan.pace import Pace
from labmon.scan.progress import Progress
from labmon.scan.rounds import Rounds
from labmon.scan.timing import Patience


class ArpSocket(LinkSocket):
    """Sends and receives ARP on one interface."""

    protocol = ETH_P_ARP
    family = socket.AF_INET
    what = "ARP"

    def _make_frames(self, mac: str, address: str) -> Frames:
        return ArpFrames(mac, address)


class Arp(Rounds):
    """A sweep by ARP. All targets must be on the socket's link."""

    phase = "arp"

    def __init__(
        self,
        sock: LinkSocket,
        targets: Sequence[str],
        settings: Scan,
        progress: Progress,
        stop: Event,
        *,
        pace: Pace | None = None,
        patience: Patience | None = None,
    ) -> None:
        super().__init__(targets, settings, progress, stop, pace=pace, patience=patience)
        self._socket = sock
        self._numbers = {address: number for number, address in enumerate(targets)}
        self._sent = array("q", bytes(8 * len(targets)))  # nanoseconds since the epoch, of the last question
        self._macs: dict[str, str] = {}
        self.claimed_twice: dict[str, tuple[str, str]] = {}
        """Addresses for which two network cards answered: two machines by mistake, or one that has both."""

    def _put(self, round_: int, number: int, address: str) -> None:
        self._sent[number] = time.time_ns()  # before: over a virtual cable, `send` brings the answer
        self._socket.send(address)

    def _wait(self, seconds: float) -> None:
        self._socket.wait(seconds)

    def _take(self) -> Iterator[tuple[int, Host]]:
        for address, mac, at in self._socket.receive():
            number = self._numbers.get(address)
            if number is None:
                continue  # an answer to somebody else's question, or a forgery
            if mac is not None:
                first = self._macs.setdefault(address, mac)
                if first != mac:
                    self.claimed_twice.setdefault(address, (first, mac))
            took = (at - self._sent[number]) / 1e9
            seen_at = datetime.fromtimestamp(at / 1e9, UTC)
            # Negative when the clock was set back meanwhile.
            yield number, Host(address, self.phase, seen_at, rtt=took if took >= 0 else None, mac=mac)
