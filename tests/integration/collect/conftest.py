"""A real sshd, one call to measure what is on loopback, and servers that misbehave."""

import socket
import threading
import time
from pathlib import Path

import pytest

from labmon.collect.once import Target, collect
from labmon.config.tables import CollectConfig
from labmon.config.units import Seconds
from tests.conftest import started
from tests.support.sshd import Sshd, can_make_accounts


@pytest.fixture(scope="module")
def sshd():
    """One that is left as it was, on as many addresses as sshd takes. Its account has a bare shell where
    the tests may make one."""
    accounts = {"labuser": "/bin/dash"} if can_make_accounts() else None
    yield from started(lambda: Sshd([f"127.0.0.{n}" for n in range(1, 17)], accounts=accounts))


@pytest.fixture
def own_sshd():
    """One to stop and reconfigure."""
    accounts = {"labuser": "/bin/dash"} if can_make_accounts() else None
    yield from started(lambda: Sshd(accounts=accounts))


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """measure(sshd, address..., port=, deadline=, **settings) -> results in the order of the addresses."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))

    def run(sshd, *addresses, port=None, deadline=10.0, **settings):
        settings = {"key_files": [str(sshd.key_file)], "user": sshd.user, **settings}
        targets = [
            Target(address, port or sshd.port, number)
            for number, address in enumerate(addresses or ["127.0.0.1"], 1)
        ]
        found = collect(
            targets, CollectConfig(deadline=Seconds(deadline), **settings), state_dir=tmp_path / "state"
        )
        return sorted(found, key=lambda result: result.target.system_id)

    return run


@pytest.fixture
def bastions():
    """make(*options) -> an sshd that lets in its own key, for as long as the test runs."""
    running = []

    def make(*options):
        server = started(lambda: Sshd(["127.0.0.30"], options=options, accounts=accounts))
        running.append(server)
        return next(server)

    accounts = {"jumper": "/usr/sbin/nologin"} if can_make_accounts() else None
    yield make
    for server in running:
        next(server, None)


@pytest.fixture
def bastion(bastions):
    return bastions("MaxSessions 1")


def through(sshd, *bastions, **settings):
    """Settings that go there: each server has a key and an account of its own."""
    hops = ",".join(f"{one.user}@127.0.0.30:{one.port}" for one in bastions)
    keys = [str(one.key_file) for one in (sshd, *bastions)]
    return {"proxy_jump": hops, "key_files": keys, **settings}


class Hostile:
    """Listens on 127.0.0.1 and does to each client what `behave(connection, stopped)` does."""

    def __init__(self, behave):
        self.behave = behave
        self.stopped = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._accept, name="hostile", daemon=True).start()

    def _accept(self):
        while not self.stopped.is_set():
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), name="hostile", daemon=True).start()

    def _serve(self, connection):
        try:
            self.behave(connection, self.stopped)
        except OSError:
            pass  # the client had enough
        finally:
            connection.close()

    def close(self):
        self.stopped.set()
        self.listener.close()
        for connection in self.connections:
            connection.close()


@pytest.fixture
def hostile_servers():
    servers = []
    yield servers
    for server in servers:
        server.close()


@pytest.fixture
def hostile(hostile_servers):
    """hostile(behave) -> the port of a server that does so to each client."""

    def make(behave):
        hostile_servers.append(Hostile(behave))
        return hostile_servers[-1].port

    return make


@pytest.fixture
def black_hole():
    """A port whose backlog is full: the kernel answers no more connections, as if packets were swallowed."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        fillers.append(filler)
    time.sleep(0.05)
    yield listener.getsockname()[1]
    for one in (*fillers, listener):
        one.close()


@pytest.fixture
def no_leaks(hostile_servers):
    """Fails when threads or file descriptors are left over a moment after the test, but for the hostile's."""

    def left():
        threads = [thread.name for thread in threading.enumerate() if thread.name != "hostile"]
        theirs = sum(1 + sum(one.fileno() >= 0 for one in server.connections) for server in hostile_servers)
        return len(threads), len(list(Path("/proc/self/fd").iterdir())) - theirs

    def more():
        return any(now > then for now, then in zip(left(), before, strict=True))

    before = left()
    yield
    until = time.monotonic() + 3
    while more() and time.monotonic() < until:
        time.sleep(0.05)
    assert not more(), (before, left(), threading.enumerate())
