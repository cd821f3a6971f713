"""The IPv6 side of this machine, from the kernel's own tables."""

from ipaddress import IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from labmon.scan.kernel.ipv6 import OwnAddress, networks, parse_own, parse_routes, with_zone
from labmon.scan.kernel.links import divide
from labmon.scan.kernel.neighbours6 import read_table
from labmon.scan.targets.target_set import parse


def line(network, length, flags, device, router="0" * 32, metric="00000100"):
    return (
        f"{network} {length:02x} {'0' * 32} 00 {router} {metric} 00000001 00000000 {flags:08x} {device:>8}\n"
    )


FD5 = "fd000005" + "0" * 24
FD6 = "fd000006" + "0" * 24
ROUTER = "fe80" + "0" * 26 + "09"
ROUTES = (
    line(FD5, 64, 0x1, "eth0")
    + line("fe80" + "0" * 28, 64, 0x1, "eth0")
    + line(FD6, 64, 0x3, "eth0", ROUTER)
    + line("fd000005" + "0" * 20 + "8000", 113, 0x1, "eth1")
    + line("fd000005" + "0" * 20 + "4000", 114, 0x1, "eth2", metric="00000400")
    + line("fd000005" + "0" * 20 + "4000", 114, 0x1, "eth3", metric="00000100")
    + line("fd000007" + "0" * 24, 64, 0x201, "lo")
    + line("0" * 31 + "1", 128, 0x80200001, "lo")
    + line("fd000005" + "0" * 23 + "1", 128, 0x80200001, "eth0")
    + line("ff" + "0" * 30, 8, 0x1, "eth0")
    + line("0" * 32, 0, 0x200200, "lo", metric="ffffffff")
)

OWN = """00000000000000000000000000000001 01 80 10 80       lo
fd000005000000000000000000000001 02 40 00 82     eth0
fe800000000000000000000000000001 02 40 20 80     eth0
fd000005000000000000000000000002 02 40 00 c0     eth0
fd000005000000000000000000000003 02 40 00 88     eth0
fd000009000000000000000000000001 05 80 00 80     tun0
"""


def test_each_target_goes_where_the_longest_prefix_and_the_lowest_metric_say():
    targets = parse(
        ["fd00:5::1", "fd00:5::7", "fd00:5::8001", "fd00:5::4001", "fd00:6::1", "fd00:7::1", "::1"],
        max_hosts=9,
    )
    routes = sorted(parse_routes(ROUTES), key=lambda route: route.last - route.first)
    shared = divide(targets, routes, {own.address for own in parse_own(OWN)})
    assert shared.links == {"eth0": ["fd00:5::7"], "eth1": ["fd00:5::8001"], "eth3": ["fd00:5::4001"]}
    assert shared.own == {"eth0": ["fd00:5::1"]}
    assert list(shared.others) == ["::1", "fd00:6::1", "fd00:7::1"]


def test_a_router_is_known_with_the_link_it_is_on():
    (route,) = (route for route in parse_routes(ROUTES) if route.router)
    assert (route.router, route.outward, route.device) == ("fe80::9%eth0", "eth0", None)


def test_own_addresses_that_are_not_yet_or_never_ours_are_left_out():
    own = parse_own(OWN)
    assert [one.address for one in own] == ["::1", "fd00:5::1", "fe80::1", "fd00:9::1"]
    assert own[1] == OwnAddress("eth0", "fd00:5::1", IPv6Network("fd00:5::/64"))
    assert networks(own) == [("eth0", IPv6Network("fd00:5::/64")), ("eth0", IPv6Network("fe80::/64"))]


def test_only_link_local_addresses_have_a_zone():
    assert with_zone("fe80::1", "eth0") == "fe80::1%eth0"
    assert with_zone("fd00:5::1", "eth0") == "fd00:5::1"


# As recorded from a kernel: fd00:5::2 reachable at 02:00:00:00:00:02, then one that has failed, then the end.
TABLE = bytes.fromhex(
    "44000000" "1c00" "0200" "01000000" "00000000"
    "0a000000" "02000000" "0200" "00" "01"
    "1400" "0100" "fd000005000000000000000000000002"
    "0a00" "0200" "020000000002" "0000"
    "0800" "0400" "01000000"
)  # fmt: skip
FAILED = TABLE[:24] + bytes.fromhex("2000") + TABLE[26:]
DONE = bytes.fromhex("1400000003000200010000000000000000000000")


def test_the_kernels_neighbours_are_read():
    assert read_table(TABLE) == ([("fd00:5::2", "02:00:00:00:00:02", 2)], False)
    assert read_table(FAILED) == ([], False)
    assert read_table(TABLE + FAILED + TABLE + DONE) == ([("fd00:5::2", "02:00:00:00:00:02", 2)] * 2, True)


@given(st.binary(max_size=200) | st.integers(0, 150).map(lambda length: (TABLE + DONE)[:length]))
def test_no_bytes_at_all_break_it(data):
    found, _ = read_table(data)
    assert found in ([], [("fd00:5::2", "02:00:00:00:00:02", 2)])
