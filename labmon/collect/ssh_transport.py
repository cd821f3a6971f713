"""paramiko's transport and packets, with bounds on strangers, and fit to be a bastion's."""

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, cast

import paramiko  # type: ignore[import-untyped]
from paramiko.common import (  # type: ignore[import-untyped]
    MSG_CHANNEL_CLOSE,
    cMSG_CHANNEL_CLOSE,
    cMSG_GLOBAL_REQUEST,
)
from paramiko.packet import Packetizer  # type: ignore[import-untyped]

from labmon.collect.deadline import Deadline
from labmon.collect.failures import HostFailed, one_line

MAX_BANNER = 8192
"""Bytes that may come before the version line, as in OpenSSH."""

MAX_PACKET = 256 * 1024
"""Bytes, as in OpenSSH. paramiko believes any length up to 4 GiB, before anybody has proved anything."""

WINDOW = 256 * 1024
"""Bytes that a server may have under way to us."""

QUIET = 1.0
"""Seconds after which a bastion that has said nothing is asked whether it is there."""

# Cheapest first, by the processor time of this side; the rest of paramiko's list stays behind them. Measured,
# a login costs 2.5 ms with either curve, 2.8 with ML-KEM and 20 to 75 with the classical groups; AES-GCM
# saves a MAC per packet.
CHEAP_KEX = ["curve25519-sha256@libssh.org", "ecdh-sha2-nistp256"]
CHEAP_CIPHERS = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]


class Forwarded:
    """A channel as a socket, as far as paramiko needs one. Closing it never fails, whoever is gone."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self.settimeout = channel.settimeout
        self.recv = channel.recv
        self.send = channel.send

    @property
    def holds(self) -> bool:
        """False when the server that forwards is gone."""
        transport = self._channel.get_transport()
        # paramiko ends the channels before it calls the transport inactive.
        return bool(transport.is_active() and not transport.packetizer.ended)

    def hang_up(self) -> None:
        """Have `recv` return nothing. Never waits, as `shutdown` would for a server that does not listen."""
        self._channel.in_buffer.close()

    def close(self) -> None:
        """Tell the server, if it is there."""
        with suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()


class Transport(paramiko.Transport):  # type: ignore[misc]
    """paramiko's, for many channels opened at once by several threads.

    paramiko keeps one reason for all of them why a channel was not opened; forgets a channel that is opened
    after its caller has given up, so that the server would hold it, and its connection, for ever; and may
    send something for a channel that another thread has just closed, after which OpenSSH hangs up on all.
    """

    def __init__(self, sock: Any) -> None:
        super().__init__(sock, default_window_size=WINDOW, packetizer_class=BoundedPacketizer)
        self._refusals: dict[int, tuple[int, str]] = {}
        self._order = threading.Lock()
        self._mine = threading.local()

    def stop_thread(self) -> None:
        """Let the thread end by itself. paramiko's waits for it, one after another when the process ends; but
        whoever closes a session has taken its socket away, which wakes the thread."""
        self.active = False
        self.packetizer.close()

    def forward(self, address: str, port: int, deadline: Deadline) -> Forwarded:
        """A connection from the server to that port.

        Raises TimeoutError at the deadline, and `HostFailed`: refused, unreachable, or connection lost when
        the server itself is gone.
        """
        try:
            return Forwarded(
                self.open_channel("direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=deadline.left)
            )
        except (paramiko.SSHException, EOFError, OSError) as error:
            if not self.is_active():
                raise HostFailed("connection lost", one_line(str(error)) or "it hung up") from error
            refusal = self._refusals.pop(getattr(self._mine, "channel", -1), None)
            if refusal is None:
                raise TimeoutError from error
            raise _not_forwarded(*refusal) from error

    def rouse(self, patience: float) -> bool:
        """False when the server does not stir for so many seconds. One that has just said something is not
        asked, and one whose connection is gone is left to others."""
        if time.monotonic() - self.packetizer.heard_at < QUIET:
            return True
        self.packetizer.alive.clear()
        request = paramiko.Message()
        request.add_byte(cMSG_GLOBAL_REQUEST)
        request.add_string("keepalive@openssh.com")
        request.add_boolean(True)
        self._send_user_message(request)
        return self.packetizer.alive.wait(patience) or not self.is_active()

    def _next_channel(self) -> int:
        self._mine.channel = number = cast("int", super()._next_channel())
        return number

    def send_for(self, line: "_Line", data: paramiko.Message) -> None:
        """Send what a channel has to say, unless it has said its last."""
        self._mine.line = line
        try:
            self._send_user_message(data)
        finally:
            self._mine.line = None

    def _send_message(self, data: paramiko.Message) -> None:
        line: _Line | None = getattr(self._mine, "line", None)
        with self._order:
            if line is not None:
                if line.ended:
                    return
                line.ended = data.asbytes()[0] == MSG_CHANNEL_CLOSE
            super()._send_message(data)

    def _parse_channel_open_failure(self, m: paramiko.Message) -> None:
        number, code, said = m.get_int(), m.get_int(), m.get_text()
        m.rewind()
        self._refusals[number] = (code, said)
        super()._parse_channel_open_failure(m)

    def _parse_channel_open_success(self, m: paramiko.Message) -> None:
        number, theirs = m.get_int(), m.get_int()
        m.rewind()
        channel = self._channels.get(number)
        if channel is not None:
            channel.transport = _Line(self)
            super()._parse_channel_open_success(m)
            return
        close = paramiko.Message()
        close.add_byte(cMSG_CHANNEL_CLOSE)
        close.add_int(theirs)
        self._send_message(close)


class _Line:
    """The transport as one channel has it.

    The server uses its channels' numbers again, so by these a late word for a channel that was closed cannot
    be told from one for its successor.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.ended = False  #: its close has been sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _send_user_message(self, data: paramiko.Message) -> None:
        self._transport.send_for(self, data)


def _not_forwarded(code: int, said: str) -> HostFailed:
    """Why a server did not open the way, by its code (RFC 4254, 5.1) and, for OpenSSH's, its words."""
    if code == 1:
        return HostFailed("unreachable", "the bastion forwards nothing there: see its AllowTcpForwarding")
    if "refused" in said.lower():
        return HostFailed("refused", "nothing listens on that port")
    return HostFailed("unreachable", f"from the bastion: {one_line(said) or 'no connection'}")


class BoundedPacketizer(Packetizer):  # type: ignore[misc]
    """paramiko's, with bounds on what a stranger may send, and without its timer thread per connection."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self.heard = b""  #: up to the version line
        self.heard_at = 0.0  #: on the monotonic clock, the last sign of life
        self.alive = threading.Event()  #: set by each
        self.ended = False  #: the other side has hung up

    def start_handshake(self, timeout: float) -> None:
        """Nothing: the session's deadline covers the handshake."""

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        if n > MAX_PACKET:
            raise paramiko.SSHException(f"a packet of {n} bytes")
        try:
            data = cast("bytes", super().read_all(n, check_rekey))
        except (EOFError, OSError):
            self.ended = True
            raise
        self.heard_at = time.monotonic()
        self.alive.set()
        return data

    def _read_timeout(self, timeout: float) -> bytes:
        # Called for the lines up to and with the version, and for nothing else.
        if len(self.heard) > MAX_BANNER:
            raise paramiko.SSHException(f": more than {MAX_BANNER} bytes before the version")
        data = cast("bytes", super()._read_timeout(timeout))
        self.heard += data
        return data


def prefer_cheap(transport: paramiko.Transport, known_types: Iterable[str]) -> None:
    """Offer what costs this side least, and ask for these types of host key first."""
    options = transport.get_security_options()
    options.kex = _first(CHEAP_KEX, options.kex)
    options.ciphers = _first(CHEAP_CIPHERS, options.ciphers)
    wanted: list[str] = []
    for kind in known_types:
        wanted += ["rsa-sha2-512", "rsa-sha2-256"] if kind == "ssh-rsa" else [kind]
    if wanted:
        options.key_types = _first(wanted, options.key_types)


def _first(wanted: Iterable[str], there: Iterable[str]) -> list[str]:
    there = list(there)
    front = [name for name in wanted if name in there]
    return front + [name for name in there if name not in front]
