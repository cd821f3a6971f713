"""SSH sessions within a deadline. The only importer of paramiko in this package.

paramiko runs a thread per connection and has waits that no timeout of its own ends. So nobody here trusts
its timeouts: whoever opens a session has a watchdog `abort` it at the deadline, which takes away the socket,
and every wait ends with an error that is then told as "timed out".
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn, Self, cast

import paramiko  # type: ignore[import-untyped]
from paramiko.packet import Packetizer  # type: ignore[import-untyped]

from labmon.collect.deadline import Deadline
from labmon.collect.failures import CONNECTING, HostFailed, one_line, os_failure, timed_out
from labmon.collect.hostkeys import HostKeys, host_name
from labmon.collect.login import Login
from labmon.errors import ConfigError

# paramiko logs each unreachable machine with a traceback; here that is a result with one line.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
if logging.getLogger("paramiko").level == logging.NOTSET:
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)

logger = logging.getLogger(__name__)

MAX_BANNER = 8192
"""Bytes that may come before the version line, as in OpenSSH."""

MAX_PACKET = 256 * 1024
"""Bytes, as in OpenSSH. paramiko believes any length up to 4 GiB, before anybody has proved anything."""

WINDOW = 256 * 1024
"""Bytes that a server may have under way to us."""

LIMIT = 1 << 20
"""Bytes of one answer. A machine with a thousand disks says a fifth of that."""

MAX_STDERR = 4096

# Cheapest first, by the processor time of this side; the rest of paramiko's list stays behind them. Measured,
# a login costs 2.5 ms with either curve, 2.8 with ML-KEM and 20 to 75 with the classical groups; AES-GCM
# saves a MAC per packet.
CHEAP_KEX = ["curve25519-sha256@libssh.org", "ecdh-sha2-nistp256"]
CHEAP_CIPHERS = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]


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

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self._phase = CONNECTING
        self._socket: socket.socket | None = None
        self._transport: paramiko.Transport | None = None
        self._channel: paramiko.Channel | None = None
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

    def open(self, login: Login, host_keys: HostKeys, deadline: Deadline) -> None:
        """Connect, check the host key, log in."""
        with self._failures(deadline):
            self._phase = CONNECTING
            sock = self._connect(deadline)
            self._phase = "waiting for its banner"
            transport = self._handshake(sock, host_keys, deadline)
            self._phase = "logging in"
            _log_in(transport, login, deadline)

    @property
    def is_open(self) -> bool:
        """True while the machine has not hung up, as far as is known."""
        return self._transport is not None and not self._aborted and bool(self._transport.is_active())

    @property
    def is_talking(self) -> bool:
        """True when what `start` has started can be asked again."""
        channel = self._channel
        return (
            self.is_open
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
                if channel.closed or not self.is_open:
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
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connection. Repeatable."""
        self._phase = self.phase  # the transport knows it, and is about to be forgotten
        sock, transport, self._socket, self._transport = self._socket, self._transport, None, None
        self._channel = None
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # wakes paramiko's thread, which then ends
            if transport is not None:
                transport.close()
            sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self, deadline: Deadline) -> socket.socket:
        family, kind, proto, _, address = socket.getaddrinfo(
            self.address, self.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )[0]
        sock = self._socket = socket.socket(family, kind, proto)
        if self._aborted:
            raise TimeoutError
        sock.settimeout(deadline.left)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(address)
        return sock

    def _handshake(self, sock: socket.socket, host_keys: HostKeys, deadline: Deadline) -> paramiko.Transport:
        transport = paramiko.Transport(sock, default_window_size=WINDOW, packetizer_class=BoundedPacketizer)
        # It polls at this interval to see whether it was closed; `shutdown` wakes it anyway.
        sock.settimeout(1.0)
        transport.banner_timeout = transport.auth_timeout = deadline.left + 1
        name = host_name(self.address, self.port)
        _prefer_cheap(transport, host_keys.types(name))
        self._transport = transport

        done = threading.Event()
        transport.start_client(event=done)
        if not done.wait(deadline.left):
            raise TimeoutError
        if not transport.is_active():
            raise transport.get_exception() or EOFError()
        self._phase = "checking its host key"
        key = transport.get_remote_server_key()
        host_keys.check(name, key.get_name(), key.asbytes())
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


class BoundedPacketizer(Packetizer):  # type: ignore[misc]
    """paramiko's, with bounds on what a stranger may send, and without its timer thread per connection."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.heard = b""  #: up to the version line

    def start_handshake(self, timeout: float) -> None:
        """Nothing: the session's deadline covers the handshake."""

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        if n > MAX_PACKET:
            raise paramiko.SSHException(f"a packet of {n} bytes")
        return cast("bytes", super().read_all(n, check_rekey))

    def _read_timeout(self, timeout: float) -> bytes:
        # Called for the lines up to and with the version, and for nothing else.
        if len(self.heard) > MAX_BANNER:
            raise paramiko.SSHException(f": more than {MAX_BANNER} bytes before the version")
        data = cast("bytes", super()._read_timeout(timeout))
        self.heard += data
        return data


def _prefer_cheap(transport: paramiko.Transport, known_types: Iterable[str]) -> None:
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


def _log_in(transport: paramiko.Transport, login: Login, deadline: Deadline) -> None:
    """Each key, then the password, until the server is content. Raises `HostFailed` when it is not."""
    attempts: list[tuple[str, str, Callable[[], list[str]]]] = [
        (f"key {name}", "publickey", partial(transport.auth_publickey, login.user, key))
        for name, key in login.keys
    ]
    if login.password is not None:
        attempts.append(
            ("the password", "password", partial(transport.auth_password, login.user, login.password))
        )
    refused: list[str] = []
    allowed: list[str] | None = None  # what the server still takes, once it has told
    for what, method, authenticate in attempts:
        if allowed is not None and not {method, _INTERACTIVE.get(method)} & set(allowed):
            continue
        transport.auth_timeout = deadline.left
        try:
            allowed = authenticate() or None
        except paramiko.BadAuthenticationType as error:
            allowed = error.allowed_types
        except paramiko.AuthenticationException:
            if deadline.passed:
                raise TimeoutError from None
            if not transport.is_active():
                if not refused:
                    raise EOFError from None
                _refuse(
                    login, refused, "and hung up: too many keys? Name the right one in [collect] key_files"
                )
            refused.append(what)
        if transport.is_authenticated():
            return
        if not transport.is_active():
            raise EOFError
    _refuse(login, refused, f"and takes only: {', '.join(allowed)}" if allowed else "")


_INTERACTIVE = {"password": "keyboard-interactive"}  # paramiko answers its one question with the password


def _refuse(login: Login, refused: list[str], more: str) -> NoReturn:
    what = f"it refused {', '.join(refused[:2])}" if refused else "it lets nobody in this way"
    what += f" and {len(refused) - 2} more" if len(refused) > 2 else ""
    raise HostFailed("auth failed", one_line(f"as {login.user}: {what} {more}", 300))


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


def read_key(path: Path) -> paramiko.PKey:
    """A private key file of any usual format. Raises ConfigError saying what is the matter with it."""
    try:
        return paramiko.PKey.from_path(path)
    except OSError as error:
        raise ConfigError(f"{path}: the key cannot be read: {error.strerror}") from error
    except (paramiko.PasswordRequiredException, TypeError) as error:
        raise ConfigError(
            f"{path}: the key has a passphrase. Load it with ssh-add and leave [collect] key_files empty"
        ) from error
    except Exception as error:  # a file may be wrong in many ways, and paramiko lets most of them through
        said = one_line(str(error) or type(error).__name__, 80)
        raise ConfigError(f"{path}: this is no private key: {said}") from error


class _AgentKey(paramiko.AgentKey):  # type: ignore[misc]
    """A key of the agent, which is asked over a connection of its own each time: paramiko does not keep apart
    what several sessions ask over one."""

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> bytes:
        with closing(paramiko.Agent()) as agent:
            if not agent.get_keys():
                raise paramiko.SSHException("the SSH agent has gone, or has no keys any more")
            return cast("bytes", paramiko.AgentKey(agent, self.blob).sign_ssh_data(data, algorithm))


def agent_keys() -> list[tuple[str, paramiko.PKey]]:
    """What the SSH agent holds, if there is one: (comment, key)."""
    if not os.path.exists(os.environ.get("SSH_AUTH_SOCK", "")):
        return []
    try:
        with closing(paramiko.Agent()) as agent:
            return [
                (one_line(key.comment, 40) or key.get_name(), _AgentKey(agent, key.blob, key.comment))
                for key in agent.get_keys()
            ]
    except (paramiko.SSHException, OSError) as error:
        logger.warning("the SSH agent does not answer: %s", error)
        return []
