"""SSH sessions within a deadline. With `ssh_transport` and `ssh_keys` the only importer of paramiko here.

paramiko runs a thread per connection and has waits that no timeout of its own ends. So nobody here trusts
its timeouts: whoever opens a session has a watchdog `abort` it at the deadline, which takes away the socket,
and every wait ends with an error that is then told as "timed out".
"""

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

import paramiko  # type: ignore[import-untyped]

from labmon.collect.bastion import Bastion, Way
from labmon.collect.deadline import Deadline
from labmon.collect.failures import CONNECTING, HostFailed, one_line, os_failure, timed_out
from labmon.collect.hostkeys import HostKeys
from labmon.collect.ssh_keys import log_in
from labmon.collect.ssh_transport import WINDOW, Forwarded, Transport, prefer_cheap
from labmon.errors import ConfigError

# paramiko logs each unreachable machine with a traceback; here that is a result with one line.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
if logging.getLogger("paramiko").level == logging.NOTSET:
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)

LIMIT = 1 << 20
"""Bytes of one answer. A machine with a thousand disks says a fifth of that."""

MAX_STDERR = 4096


@dataclass(frozen=True)
class Output:
    """What a command said. `status` is None when it was not waited for, or the server did not tell."""

    stdout: bytes
    stderr: bytes
    status: int | None


class Session:
    """A connection to one machine: `open`, then `run` as often as wanted, then `close`, then perhaps `open`.

    One thread at a time uses it; any thread may `abort` it. Every method raises `HostFailed` and nothing else
    when the machine or the way to it is at fault, and "timed out" when the deadline has passed.
    """

    def __init__(self, address: str, find_way: Callable[[], Way], host_keys: HostKeys) -> None:
        self.address = address  #: or name, for the report
        self._find_way = find_way
        self._host_keys = host_keys
        self._phase = CONNECTING
        self._socket: socket.socket | Forwarded | None = None
        self._transport: Transport | None = None
        self._channel: paramiko.Channel | None = None
        self._through: Bastion | None = None
        self._aborted = False

    @property
    def phase(self) -> str:
        """What it is doing or waiting for, for the report."""
        transport = self._transport
        if self._phase == "waiting for its banner" and transport is not None and transport.remote_version:
            return "exchanging keys"
        return self._phase

    @property
    def server(self) -> str:
        """The software it names in its version line, such as "OpenSSH_9.2p1 Debian-2"; "" before `open`."""
        said = self._transport.remote_version if self._transport else ""
        return said.split("-", 2)[-1]

    @property
    def alive(self) -> bool:
        """True between `open` and the end of the connection, whoever ends it."""
        return self._transport is not None and not self._aborted and self._transport.is_active()

    def open(self, deadline: Deadline) -> None:
        """Connect, check the host key, log in."""
        with self._failures(deadline):
            way = self._find_way()
            types = self._host_keys.types(way.machine)
            while types := self._reach(way, types, deadline):
                self.close()  # once more, for a key of the type that it is known by
            self._phase = "logging in"
            assert self._transport is not None
            log_in(self._transport, way.login, deadline)

    def forward(self, address: str, port: int, deadline: Deadline, *, patience: float) -> Forwarded:
        """A connection from this machine to another, to be used as a socket.

        Raises `HostFailed`, and TimeoutError at the deadline. When the machine itself has not stirred for
        `patience` seconds the session is over.
        """
        assert self._transport is not None, "open() comes first"
        if not self._transport.rouse(min(patience, deadline.left)):
            if deadline.passed:
                raise TimeoutError
            self.abort()
            raise HostFailed("timed out", f"it has said nothing for {patience:g} s")
        return self._transport.forward(address, port, deadline)

    def insist(self, seconds: float) -> None:
        """Have the connection end when what is sent is not acknowledged for so long."""
        if isinstance(self._socket, socket.socket) and hasattr(socket, "TCP_USER_TIMEOUT"):
            with suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))

    @property
    def is_talking(self) -> bool:
        """True when what `start` has started can be asked again."""
        channel = self._channel
        return (
            self.alive
            and channel is not None
            and not (channel.closed or channel.eof_received or channel.exit_status_ready())
        )

    def run(
        self, command: str, stdin: bytes, deadline: Deadline, *, until: bytes = b"", limit: int = LIMIT
    ) -> Output:
        """Run a command with `stdin` as its whole input and read what it says.

        Returns when it has ended, or as soon as its output ends with `until`, whatever still holds the
        other end open. More than `limit` bytes are "output unusable".
        """
        with self._failures(deadline):
            channel = self._exec(command, deadline)
            try:
                # A forced command may end without reading its input: what it says still counts.
                with suppress(OSError):
                    channel.sendall(stdin)
                channel.shutdown_write()
                return _read(channel, deadline, until, limit)
            finally:
                _close(channel)

    def start(
        self, command: str, stdin: bytes, deadline: Deadline, *, until: bytes, limit: int = LIMIT
    ) -> Output:
        """Like `run`, but leaves the command its input, to be asked for more by `ask` if it stays."""
        with self._failures(deadline):
            if self._channel is not None:
                _close(self._channel)
            # The session may now be idle for hours, and needs no look at the clock every second meanwhile.
            if self._socket is not None:
                self._socket.settimeout(None)
            self._channel = channel = self._exec(command, deadline)
            with suppress(OSError):
                channel.sendall(stdin)
            return _read(channel, deadline, until, limit)

    def ask(self, line: bytes, deadline: Deadline, *, until: bytes, limit: int = LIMIT) -> Output:
        """Write a line to what `start` has started, and read what it says to that up to `until`."""
        channel = self._channel
        assert channel is not None, "start() comes first"
        with self._failures(deadline):
            self._phase = "running the probe"
            channel.settimeout(deadline.left)
            unasked = 0
            while channel.recv_ready():
                unasked += len(channel.recv(65536))
                if unasked > limit:
                    raise HostFailed("output unusable", f"more than {limit} bytes that nobody asked for")
            try:
                channel.sendall(line)
            except OSError as error:
                if channel.closed or not self.alive:
                    raise EOFError from error
                raise
            return _read(channel, deadline, until, limit)

    def _exec(self, command: str, deadline: Deadline) -> paramiko.Channel:
        assert self._transport is not None, "open() comes first"
        self._phase = "starting the probe"
        channel = self._transport.open_session(window_size=WINDOW, timeout=deadline.left)
        try:
            channel.settimeout(deadline.left)
            channel.exec_command(command)
        except BaseException:
            _close(channel)
            raise
        self._phase = "running the probe"
        return channel

    def abort(self) -> None:
        """End whatever the session waits for, now. Never waits; harmless at any time, also after `close`."""
        self._aborted = True
        sock = self._socket
        if sock is not None:
            # Not close(): a thread that polls the socket would not notice.
            _hang_up(sock)

    def close(self) -> None:
        """Let go of the connection. Repeatable."""
        self._phase = self.phase  # the transport knows it, and is about to be forgotten
        sock, transport, self._socket, self._transport = self._socket, self._transport, None, None
        self._channel = None
        if sock is not None:
            _hang_up(sock)  # wakes paramiko's thread, which then ends
            with suppress(OSError, EOFError, paramiko.SSHException):  # on a channel they tell the bastion
                if transport is not None:
                    transport.close()
                sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reach(self, way: Way, types: Sequence[str], deadline: Deadline) -> list[str]:
        """Connect and check the host key, asking for one of these types first. Returns nothing when that went
        well, and otherwise the types to ask for instead."""
        self._phase = CONNECTING
        sock = self._connect(way, deadline)
        self._phase = "waiting for its banner"
        transport = self._handshake(sock, types, deadline)
        self._phase = "checking its host key"
        key = transport.get_remote_server_key()
        return self._host_keys.check(way.machine, (key.get_name(), key.asbytes()), types)

    def _connect(self, way: Way, deadline: Deadline) -> socket.socket | Forwarded:
        if way.through is not None:
            self._through = way.through
            self._phase = f"connecting through bastion {way.through.name}"
            self._socket = way.through.channel(way.address, way.port, deadline)
            if self._aborted:
                raise TimeoutError
            return self._socket
        family, kind, proto, _, address = socket.getaddrinfo(
            way.address, way.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )[0]
        sock = self._socket = socket.socket(family, kind, proto)
        if self._aborted:
            raise TimeoutError
        sock.settimeout(deadline.left)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(address)
        return sock

    def _handshake(
        self, sock: socket.socket | Forwarded, types: Sequence[str], deadline: Deadline
    ) -> Transport:
        transport = Transport(sock)
        # It polls at this interval to see whether it was closed; `shutdown` wakes it anyway.
        sock.settimeout(1.0)
        transport.banner_timeout = transport.auth_timeout = deadline.left + 1
        prefer_cheap(transport, types)
        self._transport = transport

        done = threading.Event()
        transport.start_client(event=done)
        if not done.wait(deadline.left):
            raise TimeoutError
        if not transport.is_active():
            raise transport.get_exception() or EOFError()
        return transport

    @contextmanager
    def _failures(self, deadline: Deadline) -> Iterator[None]:
        """Every way in which paramiko and the system say no, told as `HostFailed`."""
        try:
            yield
        except HostFailed:
            raise
        except Exception as error:
            if self._aborted or deadline.passed or isinstance(error, TimeoutError):
                raise timed_out(deadline.seconds, self.phase) from error
            if self._through is not None and isinstance(self._socket, Forwarded) and not self._socket.holds:
                raise self._through.lost(f"the connection to it ended while {self.phase}") from error
            if isinstance(error, ConfigError):
                raise HostFailed("local error", str(error)) from error
            if isinstance(error, OSError):
                raise os_failure(error, self.phase) from error
            if isinstance(error, paramiko.AuthenticationException):
                raise HostFailed("auth failed", one_line(str(error))) from error
            if isinstance(error, paramiko.ChannelException):
                raise HostFailed("probe failed", f"it allows no session: {one_line(error.text)}") from error
            if isinstance(error, RuntimeError) and "thread" in str(error):
                raise HostFailed("local error", one_line(str(error))) from error
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> HostFailed:
        """The conversation ended, or made no sense. Where it stood says what that means."""
        said = one_line(str(error))
        if self.phase == "waiting for its banner":
            heard = self._transport.packetizer.heard if self._transport else b""
            if not heard:
                return HostFailed(
                    "connection lost",
                    "it hung up without a word: not SSH, too many logins at once, or this address is barred",
                )
            return HostFailed("no ssh", f"it says {one_line(heard, 60)!r}")
        if isinstance(error, EOFError) or not said:
            return HostFailed("connection lost", f"while {self.phase}")
        if self.phase == "exchanging keys":
            return HostFailed("no ssh", said)
        if isinstance(error, paramiko.SSHException) and self.phase == "logging in":
            return HostFailed("auth failed", said)
        if isinstance(error, paramiko.SSHException) and self.phase == "starting the probe":
            return HostFailed("probe failed", f"it would not start it: {said}")
        return HostFailed("connection lost", f"while {self.phase}: {said}")


def _hang_up(sock: socket.socket | Forwarded) -> None:
    """Wake whoever waits for it, as when the other side hangs up. Never waits."""
    if isinstance(sock, socket.socket):
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
    else:
        sock.hang_up()


def _close(channel: paramiko.Channel) -> None:
    with suppress(OSError, EOFError, paramiko.SSHException):
        channel.close()


def _read(channel: paramiko.Channel, deadline: Deadline, until: bytes, limit: int) -> Output:
    out = bytearray()
    while True:
        channel.settimeout(deadline.left)
        data = channel.recv(65536)
        if not data:
            break
        out += data
        if len(out) > limit:
            raise HostFailed("output unusable", f"more than {limit} bytes")
        if until and out.find(until, max(0, len(out) - len(data) - len(until))) >= 0:
            return Output(bytes(out), b"", None)
    # The channel also reads as ended when the connection is.
    if not channel.transport.is_active():
        raise EOFError
    channel.status_event.wait(deadline.left)
    stderr = channel.recv_stderr(MAX_STDERR) if channel.recv_stderr_ready() else b""
    status = channel.exit_status if channel.exit_status_ready() and channel.exit_status >= 0 else None
    return Output(bytes(out), stderr, status)
