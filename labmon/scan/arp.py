"""An ARP sweep of one link: who has an address must answer, whatever its firewall says."""

import errno
import select
import socket
import struct
import time
from array import array
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from threading import Event
from types import TracebackType

from labmon.config import Scan
from labmon.errors import PermissionNeeded
from labmon.scan.arp_frame import ArpFrames
from labmon.scan.host import Host
from labmon.scan.icmp import how_to_grant
from labmon.scan.linux import ARPHRD_ETHER, ETH_P_ARP, SO_RCVBUFFORCE, SO_TIMESTAMPNS
from labmon.scan.pace import Pace
from labmon.scan.progress import Progress
from labmon.scan.rounds import Rounds
from labmon.scan.timing import Patience

BUFFER = 8 * 1024 * 1024

_ANY_PORT = 9


class NoEthernet(Exception):
    """The interface has no MAC addresses to ask for: loopback, a tunnel."""


class ArpSocket:
    """Sends and receives ARP on one interface."""

    def __init__(self, device: str, towards: str) -> None:
        """`towards` is an address on that link; it decides which of its own this machine asks from.

        Raises PermissionNeeded, and NoEthernet when there is no ARP on that interface.
        """
        try:
            # Protocol 0 at first, or frames of all interfaces would come in before the bind.
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except PermissionError as error:
            raise PermissionNeeded(
                f"this account may not send ARP; what would let it: {how_to_grant('ARP')}"
            ) from error
        try:
            self._socket.setblocking(False)
            self._socket.bind((device, ETH_P_ARP))
            _, _, _, kind, mac = self._socket.getsockname()
            if kind != ARPHRD_ETHER:
                raise NoEthernet(device)
            self.mac: str = mac.hex(":")
            self._frames = ArpFrames(self.mac, _own_address(towards))
            self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
            except PermissionError:  # CAP_NET_RAW alone
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        except OSError as error:
            self.close()
            raise NoEthernet(f"{device}: {error.strerror}") from error
        except BaseException:
            self.close()
            raise
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)

    def send(self, address: str) -> None:
        """Ask who has it. Raises OSError."""
        self._socket.send(self._frames.question(address))

    def wait(self, seconds: float) -> None:
        """Until something can be received, or the time is over."""
        self._poll.poll(seconds * 1000)

    def receive(self, limit: int = 4096) -> Iterator[tuple[str, str, int]]:
        """The answers that are there: address, MAC, and when it came in nanoseconds since the epoch."""
        for _ in range(limit):
            try:
                frame, ancillary, _flags, _source = self._socket.recvmsg(128, 64)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENETDOWN:  # said once, when the interface goes down
                    continue
                raise
            answer = self._frames.read(frame)
            if answer is None:
                continue
            at = time.time_ns()
            for level, kind, value in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                    seconds, nanoseconds = struct.unpack("@ll", value)
                    at = seconds * 1_000_000_000 + nanoseconds
            yield *answer, at

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "ArpSocket":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _own_address(towards: str) -> str:
    """The address that the kernel would send from. Connecting a datagram socket sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((towards, _ANY_PORT))
        address: str = sock.getsockname()[0]
    return address


class Arp(Rounds):
    """A sweep by ARP. All targets must be on the socket's link."""

    phase = "arp"

    def __init__(
        self,
        sock: ArpSocket,
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
            first = self._macs.setdefault(address, mac)
            if first != mac:
                self.claimed_twice.setdefault(address, (first, mac))
            took = (at - self._sent[number]) / 1e9
            seen_at = datetime.fromtimestamp(at / 1e9, UTC)
            # Negative when the clock was set back meanwhile.
            yield number, Host(address, "arp", seen_at, rtt=took if took >= 0 else None, mac=mac)
