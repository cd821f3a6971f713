"""paramiko's transport and packets, with bounds on what a server may send, and fit for a bastion.

All that labmon uses of paramiko's private parts stands in this module: `missing_parts` names what a new
version lacks. paramiko promises to keep none of it, so the version in pyproject.toml has an upper bound.
"""

import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NoReturn, cast

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
"""Seconds after which a bastion that has sent nothing is asked whether it is there."""

MAX_PACKETS, MAX_BYTES = 300, 1 << 20
"""Until the login succeeds. A login takes about 10 packets and 5 KB, and a key that is refused 2 more."""

MAX_NOISE, NOISE_RATE = 1000, 20.0
"""After that: packets that carry nothing for us, at once and per second. An sshd that checks whether we are
there (ClientAliveInterval) sends one per second at most."""

# SSH_MSG_IGNORE, UNIMPLEMENTED, DEBUG, KEXINIT, GLOBAL_REQUEST, and those of logins (RFC 4250, 4.1.2)
_NOISE = frozenset({2, 3, 4, 20, 80, *range(50, 80)})
_IGNORE, _DEBUG, _LOGIN_SUCCEEDED = 2, 4, 52

# Cheapest first, by the processor time of this side; the rest of paramiko's list stays behind them. Measured,
# a login costs 2.5 ms with either curve, 2.8 with ML-KEM and 20 to 75 with the classical groups; AES-GCM
# saves a MAC per packet.
CHEAP_KEX = ["curve25519-sha256@libssh.org", "ecdh-sha2-nistp256"]
CHEAP_CIPHERS = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]


class Forwarded:
    """A channel as a socket, as far as paramiko needs one. Closing it never fails."""

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
        """Have `recv` return nothing. Never waits, as `shutdown` would for a server that does not read."""
        self._channel.in_buffer.close()

    def close(self) -> None:
        """Tell the server, if it is there."""
        with suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()


class Transport(paramiko.Transport):  # type: ignore[misc]
    """paramiko's transport, for many channels opened at once by several threads.

    paramiko keeps one reason for all of them why a channel was not opened; forgets a channel that is opened
    after its caller has given up, so that the server would hold it, and its connection, for ever; and may
    send something for a channel that another thread has just closed, after which OpenSSH hangs up on all.
    """

    def __init__(self, sock: Any) -> None:
        super().__init__(sock, default_window_size=WINDOW, packetizer_class=ClientPacketizer)
        self.offered: dict[str, list[str]] = {}  #: the server's algorithms, as paramiko names the lists
        self._refusals: dict[int, tuple[int, str]] = {}
        self._send_order = threading.Lock()
        self._this_thread = threading.local()

    def stop_thread(self) -> None:
        """Let the thread end by itself. paramiko's own waits for it, one after another when the process ends;
        but closing a session shuts its socket down, which wakes the thread."""
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
            refusal = self._refusals.pop(getattr(self._this_thread, "channel", -1), None)
            if refusal is None:
                raise TimeoutError from error
            raise not_forwarded(*refusal) from error

    def keepalive(self, timeout: float) -> bool:
        """False when the server sends nothing for this many seconds. One that has just sent something is not
        asked; where the connection itself is gone, that is for others to find out."""
        if time.monotonic() - self.packetizer.heard_at < QUIET:
            return True
        self.packetizer.alive.clear()
        request = paramiko.Message()
        request.add_byte(cMSG_GLOBAL_REQUEST)
        request.add_string("keepalive@openssh.com")
        request.add_boolean(True)
        self._send_user_message(request)
        return self.packetizer.alive.wait(timeout) or not self.is_active()

    def mismatch(self) -> str:
        """Which algorithms the two sides have not in common, and what would cure it; "" when none."""
        for what, keyword, theirs, ours in _AGREEMENTS:
            offered = self.offered.get(theirs, [])
            wanted = list(getattr(self, ours))
            if offered and not set(offered) & set(wanted):
                old = " (SHA-1 is not used any more)" if any(one in _SHA1 for one in offered) else ""
                return (
                    f"no {what} in common: it offers {', '.join(offered[:6])}{old}. In its sshd_config, let "
                    f"{keyword} have {' or '.join(wanted[:2])} too, or install a newer OpenSSH"
                )
        return ""

    def _really_parse_kex_init(self, m: paramiko.Message, *arguments: Any, **options: Any) -> Any:
        parsed = super()._really_parse_kex_init(m, *arguments, **options)
        if not (arguments or options):  # with one, it is our own list that is read
            self.offered = {name: list(names) for name, names in parsed.items() if isinstance(names, list)}
        return parsed

    def _next_channel(self) -> int:
        self._this_thread.channel = number = cast("int", super()._next_channel())
        return number

    def send_for(self, channel: "_ChannelTransport", data: paramiko.Message) -> None:
        """Send a message of a channel, unless its close has been sent."""
        self._this_thread.sender = channel
        try:
            self._send_user_message(data)
        finally:
            self._this_thread.sender = None

    def _send_message(self, data: paramiko.Message) -> None:
        channel: _ChannelTransport | None = getattr(self._this_thread, "sender", None)
        with self._send_order:
            if channel is not None:
                if channel.ended:
                    return
                channel.ended = data.asbytes()[0] == MSG_CHANNEL_CLOSE
            super()._send_message(data)

    def _parse_channel_open_failure(self, m: paramiko.Message) -> None:
        number, code, text = m.get_int(), m.get_int(), m.get_text()
        m.rewind()
        self._refusals[number] = (code, text)
        super()._parse_channel_open_failure(m)

    def _parse_channel_open_success(self, m: paramiko.Message) -> None:
        number, theirs = m.get_int(), m.get_int()
        m.rewind()
        channel = self._channels.get(number)
        if channel is not None:
            channel.transport = _ChannelTransport(self)
            super()._parse_channel_open_success(m)
            return
        close = paramiko.Message()
        close.add_byte(cMSG_CHANNEL_CLOSE)
        close.add_int(theirs)
        self._send_message(close)


class _ChannelTransport:
    """The transport as one channel sees it.

    The server uses the numbers of its channels again, so a late message for a closed channel would be taken
    for one to its successor.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.ended = False  #: its close has been sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _send_user_message(self, data: paramiko.Message) -> None:
        self._transport.send_for(self, data)


def not_forwarded(code: int, text: str) -> HostFailed:
    """Why a server did not open the connection: by its code (RFC 4254, 5.1) and its text, which for OpenSSH
    is the kernel's."""
    if code == 1:
        return HostFailed("unreachable", "the bastion forwards nothing there: see its AllowTcpForwarding")
    if "refused" in text.lower():
        return HostFailed("refused", "nothing listens on that port")
    silent = "no route to host" in text.lower() or "host is down" in text.lower()
    return HostFailed("unreachable", f"from the bastion: {one_line(text) or 'no connection'}", silent=silent)


class BoundedPacketizer(Packetizer):  # type: ignore[misc]
    """paramiko's packets, with bounds on what the other side may send, and without a timer thread for each
    connection."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self.heard = b""  #: up to the version line
        self.heard_at = 0.0  #: on the monotonic clock, the last time that anything came
        self.alive = threading.Event()  #: set by everything that comes
        self.ended = False  #: the other side has hung up
        self.os_error: OSError | None = None  #: what ended it, where that was the network or the kernel
        self.excess = ""  #: what ended it, where that was more than an honest server sends

    def start_handshake(self, timeout: float) -> None:
        """Nothing: the session's deadline covers the handshake."""

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        if n > MAX_PACKET:
            raise paramiko.SSHException(f"a packet of {n} bytes")
        try:
            data = cast("bytes", super().read_all(n, check_rekey))
        except (EOFError, OSError) as error:
            self._end(error)
            raise
        self.heard_at = time.monotonic()
        self.alive.set()
        return data

    def _read_timeout(self, timeout: float) -> bytes:
        # Called for the lines up to and with the version, and for nothing else.
        if len(self.heard) > MAX_BANNER:
            raise paramiko.SSHException(f": more than {MAX_BANNER} bytes before the version")
        try:
            data = cast("bytes", super()._read_timeout(timeout))
        except OSError as error:
            self._end(error)  # paramiko makes a text of it, without its number
            raise
        self.heard += data
        return data

    def _end(self, error: EOFError | OSError) -> None:
        self.ended = True
        if isinstance(error, OSError) and not isinstance(error, TimeoutError):
            self.os_error = error


class ClientPacketizer(BoundedPacketizer):
    """The packets of a server. How many it may send before it has let us in, and how many that carry nothing
    after that, is bounded: each costs us about 50 us, and a flood of them a core until the deadline."""

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self._packets = self._bytes = 0
        self._is_in_at: float | None = None
        self._noise = 0

    def read_message(self) -> tuple[int, paramiko.Message]:
        kind, message = super().read_message()
        if self._is_in_at is None:
            self._packets += 1
            self._bytes += len(message.asbytes())
            if kind == _LOGIN_SUCCEEDED:
                self._is_in_at = time.monotonic()
            elif self._packets > MAX_PACKETS or self._bytes > MAX_BYTES:
                self._refuse(f"it sent {self._packets} packets of {self._bytes} bytes before any login")
        elif kind in _NOISE:
            self._noise += 1
            seconds = time.monotonic() - self._is_in_at
            if self._noise > MAX_NOISE + NOISE_RATE * seconds:
                self._refuse(f"it sent {self._noise} packets without any use in {seconds:.0f} s")
        # paramiko prepares the text of a DEBUG message for its log, at 3 us a byte, and that log is off.
        return _IGNORE if kind == _DEBUG else kind, message

    def _refuse(self, excess: str) -> NoReturn:
        self.excess = excess
        raise paramiko.SSHException(excess)


def exit_status(channel: paramiko.Channel, timeout: float) -> int | None:
    """The status with which the command ended, once its output has; None when the server does not tell."""
    channel.status_event.wait(timeout)
    return channel.exit_status if channel.exit_status_ready() and channel.exit_status >= 0 else None


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


# (what, keyword of sshd_config, the server's list, our list), in the order in which paramiko looks at them
_AGREEMENTS = [
    ("key exchange", "KexAlgorithms", "kex_algo_list", "preferred_kex"),
    ("type of host key", "HostKeyAlgorithms", "server_key_algo_list", "preferred_keys"),
    ("ciphers", "Ciphers", "client_encrypt_algo_list", "preferred_ciphers"),
    ("ciphers", "Ciphers", "server_encrypt_algo_list", "preferred_ciphers"),
    ("MACs", "MACs", "client_mac_algo_list", "preferred_macs"),
    ("MACs", "MACs", "server_mac_algo_list", "preferred_macs"),
]
_SHA1 = {"ssh-rsa", "ssh-dss", "diffie-hellman-group1-sha1", "diffie-hellman-group14-sha1"}
_SHA1 |= {"diffie-hellman-group-exchange-sha1", "hmac-sha1", "hmac-sha1-96"}

PARTS = {
    "Transport": [
        *("_next_channel", "_send_message", "_send_user_message", "_really_parse_kex_init"),
        *("_parse_channel_open_failure", "_parse_channel_open_success", "stop_thread", "_channels"),
        *("active", "packetizer", "remote_version", "server_extensions", "auth_timeout", "banner_timeout"),
        *("preferred_kex", "preferred_keys", "preferred_ciphers", "preferred_macs"),
    ],
    "Packetizer": ["read_all", "read_message", "_read_timeout", "start_handshake", "close"],
    "Channel": [
        *("in_buffer", "status_event", "exit_status", "exit_status_ready", "eof_received", "closed"),
        "transport",
    ],
}
"""What labmon uses of paramiko beside its documented interface."""


def missing_parts() -> list[str]:
    """Those of `PARTS` that the installed paramiko lacks."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        there = {
            "Transport": paramiko.Transport(ours),
            "Packetizer": Packetizer(ours),
            "Channel": paramiko.Channel(0),
        }
        used = ((name, part) for name, parts in PARTS.items() for part in parts)
        return [f"{name}.{part}" for name, part in used if not hasattr(there[name], part)]
