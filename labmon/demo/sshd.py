"""A small SSH server that stands for a lab's machines: on loopback only, and for measuring only.

It accepts one key, made for the run, and runs one program: labmon's own probe, on this machine. All other
requests are refused.
"""

import errno
import io
import logging
import os
import selectors
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Self

import paramiko  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from labmon.collect.probe.script import COMMANDS, FACTS, NEXT, SCRIPT, SETTINGS
from labmon.collect.ssh.transport import BoundedPacketizer
from labmon.errors import UsageError

logger = logging.getLogger(__name__)

LOGIN_TIMEOUT = 20.0
"""Seconds in which a client must log in and send its command."""

MAX_SCRIPT = len(FACTS + SCRIPT) + 8192
"""Bytes."""

PROBE_TIMEOUT = 30.0
"""Seconds for sending the probe, and again for running it."""

NOT_PERMITTED = 126
"""The exit status that shells have for a program that may not be run."""


class DemoServer:
    """The server, in threads of this process: `with DemoServer(addresses, key_file=...) as server: ...`

    All addresses get the same port; 0 chooses a free one. Entering writes the private key that it accepts to
    `key_file`, readable by its owner only; leaving ends every connection and removes that file. Raises
    UsageError for an address that is not loopback, and when the port is taken.
    """

    def __init__(self, addresses: Sequence[str], port: int = 0, *, key_file: Path) -> None:
        for address in addresses:
            if not _is_loopback(address):
                raise UsageError(
                    f"{address!r} is not a loopback address, and the demo's server takes no other"
                )
        self.addresses = tuple(addresses)
        self.port = port
        self.key_file = key_file
        self._host_key = _key(_new_key())
        private = _new_key()
        self._private = private
        self._accepted_key: bytes = _key(private).asbytes()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._probes: set[subprocess.Popen[bytes]] = set()
        self._closing = threading.Event()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            listeners = self._listen()
            for listener in listeners:
                stack.enter_context(listener)
            self.key_file.unlink(missing_ok=True)
            stack.callback(self.key_file.unlink, missing_ok=True)
            with open(os.open(self.key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(self._private)
            stack.callback(self._end_connections)
            self._accept_on(listeners, stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._stack.close()

    def _listen(self) -> list[socket.socket]:
        # A port that is free on the first address may be taken on the next.
        tries = 20 if self.port == 0 else 1
        while True:
            tries -= 1
            try:
                listeners = self._bind()
            except OSError as error:
                if error.errno == errno.EADDRINUSE and tries:
                    continue
                what = f"port {self.port}" if self.port else "a free port"
                raise UsageError(f"the demo cannot listen on {what}: {error.strerror}") from error
            self.port = listeners[0].getsockname()[1]
            return listeners

    def _bind(self) -> list[socket.socket]:
        with ExitStack() as stack:
            listeners: list[socket.socket] = []
            for address in self.addresses:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                listener = stack.enter_context(socket.socket(family))
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((address, listeners[0].getsockname()[1] if listeners else self.port))
                listener.listen(1024)
                listener.setblocking(False)
                listeners.append(listener)
            stack.pop_all()
        return listeners

    def _accept_on(self, listeners: list[socket.socket], stack: ExitStack) -> None:
        """Start the thread that accepts connections; leaving the stack ends it."""
        selector = stack.enter_context(selectors.DefaultSelector())
        wake, waker = socket.socketpair()
        stack.enter_context(wake)
        for waiting in (*listeners, wake):
            selector.register(waiting, selectors.EVENT_READ)

        def accept() -> None:
            while not self._closing.is_set():
                for key, _ in selector.select():
                    if key.fileobj is not wake and isinstance(key.fileobj, socket.socket):
                        try:
                            self._take(key.fileobj.accept()[0])
                        except (OSError, RuntimeError) as error:  # no descriptor or no thread left for it
                            logger.warning("the demo's server lost a client: %s", error)
                            time.sleep(0.1)

        thread = threading.Thread(target=accept, name="labmon-demo-accept", daemon=True)
        thread.start()
        stack.callback(thread.join, 2.0)
        stack.callback(waker.close)

    def _take(self, connection: socket.socket) -> None:
        thread = threading.Thread(target=self._serve, args=(connection,), name="labmon-demo", daemon=True)
        self._connections[connection] = thread
        try:
            thread.start()
        except RuntimeError:
            del self._connections[connection]
            connection.close()
            raise

    def _serve(self, connection: socket.socket) -> None:
        """One client, from the handshake to its end."""
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            transport = paramiko.Transport(connection, packetizer_class=BoundedPacketizer)
            transport.add_server_key(self._host_key)
            client = _Client(self._accepted_key)
            try:
                transport.start_server(event=threading.Event(), server=client)
                channel = transport.accept(LOGIN_TIMEOUT)
                while channel is not None and not self._closing.is_set():
                    self._answer(channel, client)
                    channel.close()
                    channel = None
                    while channel is None and transport.is_active() and not self._closing.is_set():
                        channel = transport.accept(1.0)
            finally:
                transport.close()
        except (OSError, EOFError, paramiko.SSHException) as error:
            logger.debug("a client of the demo's server: %s", error)
        finally:
            connection.close()
            self._connections.pop(connection, None)

    def _answer(self, channel: paramiko.Channel, client: "_Client") -> None:
        """Run the command if it is the probe, byte for byte."""
        channel.settimeout(PROBE_TIMEOUT)
        command = client.command(channel)
        if command is None:
            return
        words = command.decode("ascii", "replace")
        asked = COMMANDS.fullmatch(words)
        script = _script(channel) if asked else b""
        runs = FACTS + SCRIPT if asked and asked["facts"] else SCRIPT
        if not asked or (SETTINGS.sub(b"", script, count=1) if asked["facts"] else script) != runs:
            channel.sendall_stderr(b"labmon demo: this server runs labmon's probe and nothing else\n")
            channel.send_exit_status(NOT_PERMITTED)
            return
        with subprocess.Popen(words.split(), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as probe:
            self._probes.add(probe)
            try:
                if asked["loop"]:
                    _converse(channel, probe, runs)
                else:
                    channel.sendall(probe.communicate(runs, PROBE_TIMEOUT)[0])
            except subprocess.TimeoutExpired:
                pass
            finally:
                probe.kill()
                self._probes.discard(probe)
        channel.send_exit_status(probe.returncode & 0xFF)

    def _end_connections(self) -> None:
        for probe in list(self._probes):
            probe.kill()
        threads = list(self._connections.items())
        for connection, _ in threads:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        until = time.monotonic() + 5.0
        for _, thread in threads:
            thread.join(max(0.0, until - time.monotonic()))


class _Client(paramiko.ServerInterface):  # type: ignore[misc]
    """What one client may do: log in with the key, open sessions, and send a command."""

    def __init__(self, key: bytes) -> None:
        self._accepted_key = key
        self._commands: dict[int, bytes] = {}
        self._commanded = threading.Condition()

    def command(self, channel: paramiko.Channel) -> bytes | None:
        """The command of that session. None if the client goes away or does not send one in time."""
        until = time.monotonic() + LOGIN_TIMEOUT
        with self._commanded:
            while channel.get_id() not in self._commands:
                if channel.closed or time.monotonic() > until:
                    return None
                self._commanded.wait(0.1)
            return self._commands.pop(channel.get_id())

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        # paramiko then checks the signature, which shows that the client has the private half.
        granted = key.asbytes() == self._accepted_key
        return int(paramiko.AUTH_SUCCESSFUL if granted else paramiko.AUTH_FAILED)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if kind == "session":
            return int(paramiko.OPEN_SUCCEEDED)
        return int(paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        with self._commanded:
            self._commands[channel.get_id()] = command
            self._commanded.notify_all()
        return True


def _converse(channel: paramiko.Channel, probe: subprocess.Popen[bytes], script: bytes) -> None:
    """The probe that stays: a round for each NEXT, which is all that reaches it, until either side ends."""
    channel.settimeout(None)
    assert probe.stdin and probe.stdout
    output = probe.stdout

    def forward() -> None:
        with suppress(OSError):
            while block := os.read(output.fileno(), 65536):
                channel.sendall(block)

    sender = threading.Thread(target=forward, name="labmon-demo-probe", daemon=True)
    sender.start()
    with suppress(OSError):
        probe.stdin.write(script)
        probe.stdin.flush()
        while _read(channel, len(NEXT)) == NEXT:
            probe.stdin.write(NEXT)
            probe.stdin.flush()
        probe.stdin.close()
    probe.kill()
    sender.join()


def _script(channel: paramiko.Channel) -> bytes:
    """The client's script. It ends like the probe: a client that stays leaves its input open."""
    data = bytearray()
    while not data.endswith(SCRIPT) and len(data) < MAX_SCRIPT and (more := channel.recv(65536)):
        data += more
    return bytes(data)


def _read(channel: paramiko.Channel, limit: int) -> bytes:
    """The client's input up to its end, or to the limit."""
    data = bytearray()
    while len(data) < limit and (more := channel.recv(limit - len(data))):
        data += more
    return bytes(data)


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


def _new_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _key(private: bytes) -> paramiko.PKey:
    return paramiko.Ed25519Key.from_private_key(io.StringIO(private.decode()))
