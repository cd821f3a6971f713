"""Which targets share a link with us."""

import pytest

from labmon.scan import neighbours
from labmon.scan.targets import parse

ROUTES = """Iface Destination Gateway  Flags RefCnt Use Metric Mask     MTU Window IRTT
eth0  00000000    0100000A 0003  0      0   0      00000000 0   0      0
eth0  0000000A    00000000 0001  0      0   0      00F0FFFF 0   0      0
"""  # default via 10.0.0.1; 10.0.0.0/20 dev eth0


@pytest.fixture
def machine(tmp_path, monkeypatch):
    (tmp_path / "route").write_text(ROUTES)
    monkeypatch.setattr(neighbours, "ROUTES", tmp_path / "route")
    monkeypatch.setattr(neighbours, "ROOM", tmp_path / "room")
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


def test_a_kernel_with_more_room_takes_more(machine):
    (machine / "room").write_text("16384\n")
    assert rate("10.0.0.0/20", 10_000) == 10_000


def test_no_table_of_routes_is_no_limit(machine):
    (machine / "route").unlink()
    assert rate("10.0.0.0/20", 10_000) == 10_000
