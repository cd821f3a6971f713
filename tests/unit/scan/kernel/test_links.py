"""Which targets ARP reaches, from the kernel's own tables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labmon.scan.kernel.links import divide, parse_local, parse_neighbours
from labmon.scan.kernel.route import parse_routes
from labmon.scan.targets.target_set import parse

# default via 10.0.0.1 dev eth0; 10.0.0.0/20 dev eth0; 10.0.8.0/24 via 10.0.0.9; 10.0.9.0/24 dev eth1;
# unreachable 10.0.10.0/24; and 10.0.11.0/24 dev eth2, which is down
ROUTES = """Iface Destination Gateway  Flags RefCnt Use Metric Mask     MTU Window IRTT
eth0  00000000    0100000A 0003  0      0   0      00000000 0   0      0
eth0  0000000A    00000000 0001  0      0   0      00F0FFFF 0   0      0
eth0  0008000A    0900000A 0003  0      0   0      00FFFFFF 0   0      0
eth1  0009000A    00000000 0001  0      0   0      00FFFFFF 0   0      0
*     000A000A    00000000 0201  0      0   0      00FFFFFF 0   0      0
eth2  000B000A    00000000 0000  0      0   0      00FFFFFF 0   0      0
"""

TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.0.0.0/20 2 0 2
        |-- 10.0.0.0
           /20 link UNICAST
        |-- 10.0.0.7
           /32 host LOCAL
        |-- 10.0.15.255
           /32 link BROADCAST
     |-- 127.0.0.0
        /8 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
"""

NEIGHBOURS = """IP address       HW type     Flags       HW address            Mask     Device
10.0.0.1         0x1         0x2         F0:DE:F1:00:00:01     *        eth0
10.0.0.2         0x1         0x0         00:00:00:00:00:00     *        eth0
10.0.0.3         0x1         0x6         00:1b:21:00:00:03     *        eth0
"""


@pytest.fixture(autouse=True)
def byte_order(monkeypatch):
    monkeypatch.setattr("sys.byteorder", "little")


def test_each_target_goes_where_the_longest_prefix_says():
    targets = parse(
        ["10.0.0.6-8", "10.0.8.5", "10.0.9.5", "10.0.10.5", "10.0.11.5", "10.1.0.5", "127.0.0.1"],
        max_hosts=100,
    )
    shared = divide(targets, parse_routes(ROUTES), parse_local(TRIE))
    assert shared.links == {"eth0": ["10.0.0.6", "10.0.0.8", "10.0.11.5"], "eth1": ["10.0.9.5"]}
    assert shared.own == {"eth0": ["10.0.0.7"]}
    assert list(shared.others) == ["10.0.8.5", "10.0.10.5", "10.1.0.5", "127.0.0.1"]


def test_a_network_behind_a_router_is_not_looked_at_one_by_one():
    targets = parse(["10.64.0.0/10"], max_hosts=1 << 24)
    assert divide(targets, parse_routes(ROUTES), ()).others is targets


def test_a_plain_list_is_sorted_too():
    assert divide(["10.0.9.9"], parse_routes(ROUTES), ()).links == {"eth1": ["10.0.9.9"]}


def test_without_routes_nothing_is_on_a_link():
    assert list(divide(["10.0.9.9"], [], ()).others) == ["10.0.9.9"]
    assert parse_routes("") == []


def test_own_addresses_are_the_local_ones():
    assert parse_local(TRIE) == {"10.0.0.7", "127.0.0.1"}


def test_neighbours_are_those_with_an_address():
    assert parse_neighbours(NEIGHBOURS) == {"10.0.0.1": "f0:de:f1:00:00:01", "10.0.0.3": "00:1b:21:00:00:03"}


@given(st.text())
def test_odd_tables_do_no_harm(text):
    parse_local(text)
