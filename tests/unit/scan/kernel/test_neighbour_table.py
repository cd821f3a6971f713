"""Which targets share a link with us."""

import itertools
import struct
from threading import Event

import pytest

from labmon.scan.kernel import neighbour_table as neighbours
from labmon.scan.targets.target_set import parse

ROUTES = """Iface Destination Gateway  Flags RefCnt Use Metric Mask     MTU Window IRTT
eth0  00000000    0100000A 0003  0      0   0      00000000 0   0      0
eth0  0000000A    00000000 0001  0      0   0      00F0FFFF 0   0      0
"""  # default via 10.0.0.1; 10.0.0.0/20 dev eth0


@pytest.fixture
def machine(tmp_path, monkeypatch):
    (tmp_path / "route").write_text(ROUTES)
    monkeypatch.setattr(neighbours, "ROUTES", tmp_path / "route")
    monkeypatch.setattr(neighbours, "tables", dict)
    monkeypatch.setattr("sys.byteorder", "little")
    return tmp_path


def rate(text, wanted):
    return neighbours.safe_rate(parse([text], max_hosts=65536), wanted)


def test_a_small_link_or_one_behind_a_router_takes_any_rate(machine):
    assert rate("10.0.0.0/23", 10_000) == 10_000
    assert rate("10.1.0.0/16", 0) == 0


def test_a_large_link_is_asked_no_faster_than_the_kernel_forgets(machine):
    assert rate("10.0.0.0/20", 10_000) == 204
    assert rate("10.0.0.0/20", 0) == 204
    assert rate("10.0.0.0/20", 100) == 100


def test_a_kernel_with_more_room_takes_more(machine, monkeypatch):
    monkeypatch.setattr(neighbours, "tables", lambda: {2: neighbours.NeighbourTable(5, 16384)})
    assert rate("10.0.0.0/20", 10_000) == 10_000


def test_no_table_of_routes_is_no_limit(machine):
    (machine / "route").unlink()
    assert rate("10.0.0.0/20", 10_000) == 10_000


def message(family, *, entries=5, room=1024, overflows=0, cut=0):
    def attribute(kind, value):
        return struct.pack("=HH", 4 + len(value), kind) + value

    stats = struct.pack("=11Q", *[0] * 10, overflows)
    body = struct.pack("=B3x", family) + attribute(1, b"arp_cache\0\0\0")
    body += attribute(4, struct.pack("=I", room)) + attribute(
        5, struct.pack("=HHI", 4, 400, entries) + bytes(20)
    )
    body += attribute(7, stats)
    return 64, body[: len(body) - cut]


# findings A15
def test_the_tables_as_the_kernel_tells_them():
    found = neighbours.read_tables(
        [message(2, entries=1000, overflows=7), message(10), (3, b""), (64, b"\2")]
    )
    assert found[2] == neighbours.NeighbourTable(1000, 1024, 7)
    assert [found[family].is_full for family in (2, 10)] == [True, False]


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_a_message_that_is_cut_does_no_harm(cut):
    neighbours.read_tables([message(2, cut=cut)])


def test_this_kernel_tells_them_to_any_account():
    assert neighbours.tables()[2].room > 0


# findings A15
def test_a_full_table_is_waited_for_but_not_for_ever(monkeypatch):
    full, free = ({2: neighbours.NeighbourTable(entries, 1024)} for entries in (1024, 3))
    states = iter([full, full, full, full, full, free])
    monkeypatch.setattr(neighbours, "LOOK", 0.01)
    monkeypatch.setattr(neighbours, "tables", lambda: next(states))
    assert list(neighbours.wait_for_room(Event())) == [[], []]
    monkeypatch.setattr(neighbours, "tables", lambda: full)
    monkeypatch.setattr(neighbours, "EXPIRY", 0.1)
    assert 1 <= len(list(neighbours.wait_for_room(Event()))) <= 20


# findings A15
def test_while_others_fill_the_table_the_wait_is_longer_and_still_has_an_end(monkeypatch):
    refused = itertools.count()
    monkeypatch.setattr(
        neighbours, "tables", lambda: {2: neighbours.NeighbourTable(1024, 1024, next(refused))}
    )
    for name, seconds in (("LOOK", 0.01), ("EXPIRY", 0.05), ("WAIT", 0.3)):
        monkeypatch.setattr(neighbours, name, seconds)
    assert 2 <= len(list(neighbours.wait_for_room(Event()))) <= 40
