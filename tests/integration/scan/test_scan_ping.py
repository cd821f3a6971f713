"""Pings between namespaces."""

import random
import sys

import pytest

from labmon.errors import PermissionNeeded
from labmon.scan.methods.ping import PingSocket
from labmon.scan.wire.echo import Echo
from tests.support import netns

ON_LINK = [f"10.77.0.{n}" for n in range(10, 20)]


@pytest.fixture
def live(far):
    far.add_addresses(ON_LINK, "cable")
    return {netns.NEAR, netns.FAR, *ON_LINK}


def test_who_is_there_is_found_and_who_is_not_is_silent(sweep, live):
    outcome = sweep("10.77.0.0/24", method="ping")
    assert set(outcome.hosts) == live
    assert outcome.notes == []
    assert outcome.progress["found"] == len(live)
    for host in outcome.hosts.values():
        assert host["seen"] == "ping"
        assert 0 < host["rtt"] < 0.5
        assert host["seen_at"].endswith("+00:00")


def test_the_wait_ends_when_everybody_has_answered(sweep, live):
    outcome = sweep("10.77.0.10-19", method="ping", timeout=30, names=False)
    assert len(outcome.hosts) == 10
    assert outcome.seconds < 1


def test_a_large_network_behind_a_router_at_full_speed(sweep, near, far):
    near.run("ip", "route", "add", "10.99.0.0/20", "via", netns.FAR)
    live = {f"10.99.{n >> 8}.{n & 255}" for n in random.Random(7).sample(range(1, 4095), 300)}
    far.add_addresses(live)
    outcome = sweep("10.99.0.0/20", method="ping", rate=0, names=False)
    assert set(outcome.hosts) == live


@pytest.mark.parametrize(("lost", "uid"), [(1, None), (5, None), (1, netns.NOBODY)])
def test_the_first_questions_for_the_router_are_lost(sweep, near, far, lost, uid):
    """The kernel asks again after a second, and three times; by then a fast sweep would be over."""
    near.sysctl("net.ipv4.ping_group_range=0 2147483647")
    near.run("ip", "route", "add", "10.99.0.0/24", "via", netns.FAR)
    live = {f"10.99.0.{n}" for n in range(10, 250, 10)}
    far.add_addresses(live)
    near.run("ip", "neigh", "flush", "dev", "cable")
    far.firewall(
        "table arp once { chain in { type filter hook input priority 0; "
        f"quota until {28 * lost} bytes drop; }}; }}"
    )
    outcome = sweep("10.99.0.0/24", method="ping", rate=0, retries=1, timeout=0.2, names=False, uid=uid)
    assert set(outcome.hosts) == live
    assert outcome.elapsed > (0.9 if uid else 0.2 + 0.1 * lost)
    assert outcome.seconds < 2.5


def test_a_router_that_is_not_there_is_waited_for_only_so_long(sweep, near):
    near.run("ip", "route", "add", "10.99.0.0/24", "via", "10.77.0.200")
    outcome = sweep("10.99.0.0/24", method="ping", rate=0, timeout=0.2, names=False)
    assert outcome.hosts == {}
    assert outcome.seconds < 6


def test_the_rate_is_held(sweep, near, live):
    near.run("ip", "route", "add", "10.99.0.0/24", "via", netns.FAR)
    outcome = sweep("10.99.0.0/24", method="ping", rate=200, retries=0, timeout=0.1, names=False)
    due = 254 / 200 + 0.1
    assert outcome.elapsed > 0.85 * due
    assert outcome.seconds < 1.15 * due


def test_lost_packets_are_sent_again(sweep, far, live):
    far.firewall(
        "table ip lossy { chain in { type filter hook input priority 0; numgen random mod 10 < 3 drop; }; }"
    )
    outcome = sweep("10.77.0.2-19", method="ping", retries=6, timeout=0.4, rate=0, names=False)
    assert set(outcome.hosts) == live - {netns.NEAR}


def test_a_link_with_more_addresses_than_the_kernel_has_room_for(sweep, near, far):
    """At more than the 1,024 neighbours of the usual table, a packet is refused and must be sent later."""
    near.run("ip", "address", "add", "10.78.0.1/20", "dev", "cable")
    far.run("ip", "address", "add", "10.78.0.2/20", "dev", "cable")
    live = {f"10.78.{n}.77" for n in range(16)}
    far.add_addresses(live, "cable")
    outcome = sweep("10.78.0.3-10.78.4.255", method="ping", retries=0, names=False)
    assert set(outcome.hosts) == {address for address in live if int(address.split(".")[2]) < 5}


def test_addresses_that_this_machine_will_not_send_to_are_told(sweep, near, live):
    near.firewall(
        "table ip no { chain out { type filter hook output priority 0; ip daddr 10.77.0.11 drop; }; }"
    )
    outcome = sweep("10.77.0.10-12", "10.99.0.1-2", method="ping", timeout=0.2)
    assert set(outcome.hosts) == {"10.77.0.10", "10.77.0.12"}
    assert outcome.notes == [
        "2 addresses could not be asked, such as 10.99.0.2: Network is unreachable",
        "10.77.0.11 could not be asked: Operation not permitted",
    ]


def test_hosts_that_a_router_calls_unreachable_are_silent_and_do_no_harm_to_others(sweep, near, far):
    near.run("ip", "route", "add", "10.99.0.0/24", "via", netns.FAR)
    far.run("ip", "route", "add", "unreachable", "10.99.0.0/24")
    far.sysctl("net.ipv4.ip_forward=1")
    far.sysctl("net.ipv4.icmp_ratelimit=0")
    far.add_addresses(["10.99.0.200", "10.99.0.7"])
    outcome = sweep("10.99.0.0/24", method="ping", timeout=1, names=False)
    assert set(outcome.hosts) == {"10.99.0.7", "10.99.0.200"}
    assert outcome.notes == []
    assert outcome.cpu < outcome.seconds / 2  # errors left lying would make every wait return at once


ERROR_MET_BY_SENDING = """
import time
from labmon.scan.wire.echo import Echo
from labmon.scan.methods.ping import PingSocket

sock = PingSocket()
echo = Echo(sock.identifier, b"8 random")
sock.send(echo.question(0, 1, 0), "10.99.0.1")
time.sleep(0.2)  # a router says that it is unreachable
sock.send(echo.question(0, 2, 0), "10.77.0.2")
time.sleep(0.2)
print([echo.read(message).number for message in [packet.message for packet in sock.receive()]])
began = time.monotonic()
sock.wait(0.5)
sock.wait(0.5)
print(time.monotonic() - began > 0.4)
"""


@pytest.mark.parametrize("uid", [None, netns.NOBODY])
def test_an_error_about_one_address_does_not_stop_the_next_nor_the_waiting(near, far, uid):
    near.sysctl("net.ipv4.ping_group_range=0 2147483647")
    near.run("ip", "route", "add", "10.99.0.0/24", "via", netns.FAR)
    far.run("ip", "route", "add", "unreachable", "10.99.0.0/24")
    far.sysctl("net.ipv4.ip_forward=1")
    assert near.run(sys.executable, "-c", ERROR_MET_BY_SENDING, uid=uid).stdout == "[2]\nTrue\n"


def test_an_answer_from_another_address_is_ignored(sweep, near, far):
    """A translated address answers for somebody who was never asked."""
    near.run("ip", "route", "add", "10.99.0.0/24", "via", netns.FAR)
    far.add_addresses(["10.99.0.5"])
    far.firewall(
        "table ip swap { chain in { type filter hook prerouting priority -300; ip daddr 10.99.0.6 "
        "ip daddr set 10.99.0.5; }; }"
    )
    assert set(sweep("10.99.0.6", method="ping", timeout=0.3).hosts) == set()
    assert set(sweep("10.99.0.5-6", method="ping", timeout=0.3).hosts) == {"10.99.0.5"}


def test_a_stop_keeps_what_was_found(sweep, near, live):
    near.run("ip", "route", "add", "10.99.0.0/16", "via", netns.FAR)
    asked = {"phase": "ping", "asked": 1000}
    outcome = sweep("10.77.0.0/24", "10.99.0.0/16", rate=2000, stop_at=asked)
    assert set(outcome.hosts) == live
    assert 0 <= outcome.stopping < 0.3


@pytest.mark.parametrize("uid", [None, netns.NOBODY])
def test_a_stop_during_the_last_wait(sweep, near, live, uid):
    near.sysctl("net.ipv4.ping_group_range=0 2147483647")
    far = {"phase": "ping", "asked": 10}
    outcome = sweep("10.77.0.30-39", method="ping", timeout=30, retries=0, stop_at=far, uid=uid)
    assert outcome.hosts == {}
    assert 0 <= outcome.stopping < 0.3


def test_without_privileges_where_anybody_may_ping(sweep, near, live):
    near.sysctl("net.ipv4.ping_group_range=0 2147483647")
    outcome = sweep("10.77.0.0/24", uid=netns.NOBODY, tcp_silent_max=0)
    assert outcome.seen() == dict.fromkeys(live, "ping")
    (note,) = outcome.notes
    assert note.startswith("This account may not send ARP")
    assert "AmbientCapabilities=CAP_NET_RAW" in note and "ping_group_range" not in note


def test_without_permission_to_ping(sweep, live):
    outcome = sweep("10.77.0.0/24", method="ping", uid=netns.NOBODY)
    assert outcome.hosts == {}
    assert outcome.error.startswith("PermissionNeeded: this account may not ping")
    assert "net.ipv4.ping_group_range" in outcome.error
    assert "AmbientCapabilities=CAP_NET_RAW" in outcome.error


def test_on_loopback_our_own_questions_are_not_heard():
    try:
        sock = PingSocket()
    except PermissionNeeded as error:
        pytest.skip(str(error))
    with sock:
        echo = Echo(sock.identifier, b"8 random")
        sock.send(echo.question(0, 5, 6), "127.0.0.1")
        sock.wait(1)
        received = [(p.message[0], echo.read(p.message).number, p.source, p.ttl) for p in sock.receive()]
    assert received == [(0, 5, "127.0.0.1", 64)]
