"""Which method is used for whom, with methods that only pretend."""

from datetime import UTC, datetime
from threading import Event

import pytest

from labmon.config.tables import ScanConfig
from labmon.errors import PermissionNeeded, UsageError
from labmon.scan import sweep as module
from labmon.scan.host import Host
from labmon.scan.kernel.links import SharedLink
from labmon.scan.sweep import Sweep
from labmon.scan.targets.target_set import parse

TARGETS = parse(["10.30.5.1-10"], max_hosts=100)
AT = datetime(2025, 11, 25, 10, 30, tzinfo=UTC)


class World:
    """Who answers what, and who was asked."""

    identifier = 1

    def __init__(self):
        self.pings = {"10.30.5.1", "10.30.5.2"}
        self.connects = {"10.30.5.2", "10.30.5.3"}
        self.may_ping = True
        self.asked = {}

    def method(self, name, alive):
        class Method:
            late_until = 0.0

            def __init__(self, *arguments):
                self._targets, context, _timeout = arguments[-3:]
                self._stop = context.stop

            def __iter__(inner):
                self.asked[name] = list(inner._targets)
                yield []
                for address in inner._targets:
                    if address in alive and not inner._stop.is_set():
                        yield [Host(address, "ping" if name == "ping" else "tcp/22", AT)]

            def receive(inner):
                return []

        return Method

    def socket(self):
        if not self.may_ping:
            raise PermissionNeeded("not you")
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def world(monkeypatch):
    world = World()
    monkeypatch.setattr(module, "PingSocket", world.socket)
    monkeypatch.setattr(module, "Ping", world.method("ping", world.pings))
    monkeypatch.setattr(module, "sort_targets", lambda targets: SharedLink(others=targets))
    monkeypatch.setattr(module, "resolve_gateways", lambda targets, sock, stop: [])
    monkeypatch.setattr(module, "neighbours", lambda: {"10.30.5.1": "00:1b:21:00:00:01"})
    monkeypatch.setattr(module, "Tcp", world.method("tcp", world.connects))
    return world


def run(method="auto", stop=None, **settings):
    sweep = Sweep(TARGETS, ScanConfig(names=False, details=False, **settings), method=method, stop=stop)
    return {host.address: host.seen for host in sweep}, sweep.notes


def test_auto_asks_the_silent_by_tcp_and_nobody_twice(world):
    found, notes = run()
    assert found == {"10.30.5.1": "ping", "10.30.5.2": "ping", "10.30.5.3": "tcp/22"}
    assert world.asked["tcp"] == [f"10.30.5.{n}" for n in range(3, 11)]
    assert notes == []


def test_auto_leaves_many_silent_ones_alone_and_says_so(world):
    found, (note,) = run(tcp_silent_max=7)
    assert found == {"10.30.5.1": "ping", "10.30.5.2": "ping"}
    assert "8 addresses did not answer a ping" in note
    assert "tcp_silent_max = 7" in note
    assert "tcp" not in world.asked


def test_who_wants_no_tcp_hears_nothing_of_it(world):
    assert run(tcp_silent_max=0)[1] == []
    assert run(tcp_ports=[])[1] == []
    assert "tcp" not in world.asked


def test_ping_alone_and_tcp_alone(world):
    assert set(run("ping")[0].values()) == {"ping"}
    assert list(world.asked) == ["ping"]
    assert run("tcp")[0] == {"10.30.5.2": "tcp/22", "10.30.5.3": "tcp/22"}


def test_auto_without_permission_is_tcp_and_a_note_on_what_to_grant(world):
    world.may_ping = False
    found, (note,) = run()
    assert found == {"10.30.5.2": "tcp/22", "10.30.5.3": "tcp/22"}
    for word in (
        "TCP",
        "22, 445, 3389, 80",
        "AmbientCapabilities=CAP_NET_RAW",
        "net.ipv4.ping_group_range",
        "root",
    ):
        assert word in note
    assert "\n" not in note


def test_ping_without_permission_is_an_error(world):
    world.may_ping = False
    with pytest.raises(PermissionNeeded):
        run("ping")
    with pytest.raises(PermissionNeeded):
        run("auto", tcp_ports=[])


def test_tcp_without_ports_is_an_error(monkeypatch):
    with pytest.raises(UsageError, match=r"\[scan\] tcp_ports is empty"):
        run("tcp", tcp_ports=[])


def test_after_a_stop_nobody_else_is_asked(world):
    stop = Event()
    sweep = Sweep(TARGETS, ScanConfig(names=False, details=False), stop=stop)
    found = []
    for host in sweep:
        found.append(host.address)
        stop.set()
    assert found == ["10.30.5.1"]
    assert "tcp" not in world.asked
    assert sweep.progress.phase == "done"
