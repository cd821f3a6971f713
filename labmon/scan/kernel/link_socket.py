"""Whole Ethernet frames on one interface: what ARP and IPv6 neighbour discovery share."""

import ctypes
import errno
import select
import socket
import struct
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal, Protocol

from labmon.closing import Closing
from labmon.errors import PermissionNeeded
from labmon.scan.kernel.constants import ARPHRD_ETHER, SO_ATTACH_FILTER, SO_RCVBUFFORCE, SO_TIMESTAMPNS
from labmon.scan.kernel.ipv6 import socket_address
from labmon.scan.permissions import how_to_grant

BUFFER = 8 * 1024 * 1024

LONGEST = 256
"""Bytes of a frame that are read; no answer that we understand is longer."""

_ANY_PORT = 9


class NoEthernet(Exception):
    """The interface has no MAC addresses to ask for: loopback, a tunnel."""


class Frames(Protocol):
    """The questions of one interface, and their answers."""

    def question(self, address: str) -> bytes:
        """The frame that asks which MAC has this address."""

    def read(self, frame: bytes) -> tuple[str, str | None] | None:
        """(address, MAC) from an answer to us; None for any other frame."""


class LinkSocket(Closing):
    """Sends questions and receives answers on one interface."""

    protocol: ClassVar[int]
    family: ClassVar[socket.AddressFamily]
    what: ClassVar[Literal["ARP", "neighbour discovery"]]
    only: ClassVar[Sequence[tuple[int, int, int, int]]] = ()
    """A classic BPF program for the kernel, where the protocol number alone lets too much through."""

    def __init__(self, device: str, towards: str) -> None:
        """`towards` is an address on that link; it decides which of its own addresses this machine uses.

        Raises PermissionNeeded, and NoEthernet when there are no MAC addresses on that interface.
        """
        self._device = device
        try:
            # Protocol 0 at first, or frames of all interfaces would come in before the bind.
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except PermissionError as error:
            raise PermissionNeeded(
                f"this account may not send {self.what}. To allow it: {how_to_grant(self.what)}"
            ) from error
        try:
            self._socket.setblocking(False)
            self._attach_filter()
            self._socket.bind((device, self.protocol))
            _, _, _, kind, mac = self._socket.getsockname()
            if kind != ARPHRD_ETHER:
                raise NoEthernet(device)
            self.mac: str = mac.hex(":")
            self._frames = self._make_frames(self.mac, _own_address(self.family, towards))
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

    @abstractmethod
    def _make_frames(self, mac: str, address: str) -> Frames:
        """For this machine's own addresses on that link."""

    def _attach_filter(self) -> None:
        """Let the kernel drop other frames: a busy link costs nothing then (socket(7), struct sock_fprog)."""
        if not self.only:
            return
        program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in self.only))
        pointer = struct.pack("HL", len(self.only), ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointer)

    def send(self, address: str) -> None:
        """Ask for this address. Raises OSError."""
        self._socket.send(self._frames.question(address))

    def wait(self, seconds: float) -> None:
        """Return when something can be received, or after these seconds."""
        self._poll.poll(seconds * 1000)

    def receive(self, limit: int = 4096) -> Iterator[tuple[str, str | None, int]]:
        """Answers that have come in: address, MAC, nanoseconds since the epoch. Does not wait."""
        for _ in range(limit):
            try:
                frame, ancillary, _flags, _source = self._socket.recvmsg(LONGEST, 64)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENETDOWN:  # reported once, when the interface goes down
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


def _own_address(family: socket.AddressFamily, towards: str) -> str:
    """The address that the kernel would send from. Connecting a datagram socket sends nothing."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect(socket_address(towards, _ANY_PORT)[: 2 if family == socket.AF_INET else 4])
        address: str = sock.getsockname()[0]
    return address
