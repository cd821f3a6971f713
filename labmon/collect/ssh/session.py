"""SSH sessions within a deadline.

paramiko runs a thread per connection and has waits that no timeout of its own ends, so its timeouts are not
relied on: the caller has a watchdog `abort` the session at the deadline, which shuts the socket down. Every
wait then ends with an error, which is reported as "timed out".
"""

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import paramiko  # type: ignore[import-untyped]

from labmon.closing import Closing
from labmon.collect.deadline import Deadline
from labmon.collect.failures import CONNECTING, HostFailed, one_line, os_failure, timed_out
from labmon.collect.hostkeys.policy import HostKeyCheck, HostKeys
from labmon.collect.ssh.auth import log_in
from labmon.collect.ssh.plan import ConnectionPlan, Gateway
from labmon.collect.ssh.transport import WINDOW, Forwarded, Transport, exit_status, prefer_cheap
from labmon.errors import ConfigError

# paramiko logs each unreachable machine with a traceback; for labmon that is a result with one line.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
if logging.getLogger("paramiko").level == logging.NOTSET:
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)

LIMIT = 1 << 20
"""Bytes of one answer. A machine with a thousand disks sends a fifth of that."""

MAX_STDERR = 4096


@dataclass(frozen=True)
class CommandResult:
    """The output of a command. `status` is None when it was not waited for, or the server did not tell."""

    stdout: bytes
    stderr: bytes
    status: int | None


class Session(Closing):
    """A connection to one machine: `open`, then `run` as often as wanted, then `close`, then perhaps `open`.

    One thread at a time uses it; any thread may `abort` it. Every method raises `HostFailed` and nothing else
    when the machine or the network is at fault, and "timed out" when the deadline has passed.
    """

    def __init__(self, address: str, make_plan: Callable[[], ConnectionPlan], host_keys: HostKeys) -> None:
        self.address = address  #: or name, for the report
        self._make_plan = make_plan
        self._host_keys = host_keys
        self._phase = CONNECTING
        self._socket: socket.socket | Forwarded | None = None
        self._transport: Transport | None = None
        self._channel: paramiko.Channel | None = None
        self._bastion: Gateway | None = None
        self._aborted = False
        self._server = ""

    @property
    def phase(self) -> str:
        """What it is doing or waiting for, for the report."""
        transport = self._transport
        if self._phase == "waiting for its banner" and transport is not None and transport.remote_version:
            return "exchanging keys"
        return self._phase

    @property
    def server(self) -> str:
        """The software it names in its version line, such as "OpenSSH_9.2p1 Debian-2"; "" before `open`.
        Kept after `close`."""
        if self._transport:
            self._server = self._transport.remote_version.split("-", 2)[-1]
        return self._server

    @property
    def alive(self) -> bool:
        """True between `open` and the end of the connection, whichever side ends it."""
        return self._transport is not None and not self._aborted and self._transport.is_active()

    def open(self, deadline: Deadline) -> None:
        """Connect, check the host key, log in."""
        with self._failures(deadline):
            plan = self._make_plan()
            check = self._reach(plan, self._host_keys.types(plan.machine), deadline)
            while check.ask_for:
                self.close()  # once more, for a key of the type that it is known by
                check = self._reach(plan, check.ask_for, deadline)
            self._phase = "logging in"
            assert self._transport is not None
            log_in(self._transport, plan.login, deadline, is_known=check.was_known)
            self._host_keys.remember_account(plan.machine, plan.login.user)

    def forward(self, address: str, port: int, deadline: Deadline, *, timeout: float) -> Forwarded:
        """A connection from this machine to another, to be used as a socket.

        Raises `HostFailed`, and TimeoutError at the deadline. When the machine itself does not answer within
        `timeout` seconds the session is over.
        """
        assert self._transport is not None, "open() comes first"
        if not self._transport.keepalive(min(timeout, deadline.left)):
            if deadline.passed:
                raise TimeoutError
            self.abort()
            raise HostFailed("timed out", f"no answer for {timeout:g} s")
        return self._transport.forward(address, port, deadline)

    def set_user_timeout(self, seconds: float) -> None:
        """Have the kernel end the connection when what is sent is not acknowledged for this long
        (TCP_USER_TIMEOUT)."""
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
    ) -> CommandResult:
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
    ) -> CommandResult:
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

    def ask(self, line: bytes, deadline: Deadline, *, until: bytes, limit: int = LIMIT) -> CommandResult:
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
                    raise HostFailed("output unusable", f"more than {limit} bytes without being asked")
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

    def _reach(self, plan: ConnectionPlan, types: Sequence[str], deadline: Deadline) -> HostKeyCheck:
        """Connect and check the host key, asking for one of these types first."""
        self._phase = CONNECTING
        sock = self._connect(plan, deadline)
        self._phase = "waiting for its banner"
        transport = self._handshake(sock, types, deadline)
        self._phase = "checking its host key"
        key = transport.get_remote_server_key()
        return self._host_keys.check(plan.machine, (key.get_name(), key.asbytes()), types)

    def _connect(self, plan: ConnectionPlan, deadline: Deadline) -> socket.socket | Forwarded:
        """The one place where connections are made."""
        plan.networks.check(plan.address)
        if plan.bastion is not None:
            self._bastion = plan.bastion
            self._phase = f"connecting through bastion {plan.bastion.name}"
            self._socket = plan.bastion.channel(plan.address, plan.port, deadline)
            if self._aborted:
                raise TimeoutError
            return self._socket
        family, kind, proto, _, address = socket.getaddrinfo(
            plan.address, plan.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
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
        """Every error of paramiko and the system as `HostFailed`."""
        try:
            yield
        except HostFailed:
            raise
        except Exception as error:
            if self._aborted or deadline.passed or isinstance(error, TimeoutError):
                raise timed_out(deadline.seconds, self.phase) from error
            if self._bastion is not None and isinstance(self._socket, Forwarded) and not self._socket.holds:
                raise self._bastion.lost(f"the connection to it ended while {self.phase}") from error
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
        """The conversation ended, or made no sense. What that means depends on how far it had come."""
        text, transport = one_line(str(error)), self._transport
        packets = transport.packetizer if transport is not None else None
        if packets is not None and packets.os_error is not None:
            return os_failure(packets.os_error, self.phase)
        if packets is not None and packets.excess:
            is_in = transport is not None and transport.is_authenticated()
            return HostFailed("connection lost" if is_in else "no ssh", packets.excess)
        if self.phase == "waiting for its banner":
            if packets is None or not packets.heard:
                return HostFailed(
                    "connection lost",
                    "it hung up without a word: not SSH, too many logins at once, or this address is barred",
                )
            return HostFailed("no ssh", f"it says {one_line(packets.heard, 60)!r}")
        if isinstance(error, EOFError) or not text:
            return HostFailed("connection lost", f"while {self.phase}")
        if self.phase == "exchanging keys":
            return HostFailed("no ssh", (transport.mismatch() if transport else "") or text)
        if isinstance(error, paramiko.SSHException) and self.phase == "logging in":
            return HostFailed("auth failed", one_line(str(error), 400))
        if isinstance(error, paramiko.SSHException) and self.phase == "starting the probe":
            return HostFailed("probe failed", f"it would not start it: {text}")
        return HostFailed("connection lost", f"while {self.phase}: {text}")


def _hang_up(sock: socket.socket | Forwarded) -> None:
    """End all waits for it, as when the other side hangs up. Never waits itself."""
    if isinstance(sock, socket.socket):
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
    else:
        sock.hang_up()


def _close(channel: paramiko.Channel) -> None:
    with suppress(OSError, EOFError, paramiko.SSHException):
        channel.close()


def _read(channel: paramiko.Channel, deadline: Deadline, until: bytes, limit: int) -> CommandResult:
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
            return CommandResult(bytes(out), b"", None)
    # The channel also reads as ended when the connection is.
    if not channel.transport.is_active():
        raise EOFError
    status = exit_status(channel, deadline.left)
    stderr = channel.recv_stderr(MAX_STDERR) if channel.recv_stderr_ready() else b""
    return CommandResult(bytes(out), stderr, status)
