"""TCP connections between namespaces, and hosts that do not answer pings."""

import json
import resource
import subprocess
import sys

import pytest

from labmon.scan.methods.tcp import TABLE_FULL
from tests.support import netns

ADDRESSES = [f"10.77.0.{n}" for n in range(10, 14)]

LISTEN = """
import json, socket, sys
sockets = [socket.create_server(tuple(place)) for place in json.loads(sys.argv[1])]
print("ready", flush=True)
sys.stdin.read()
"""

CLOSED_IS_SILENT = """
table ip quiet {
    chain in { type filter hook input priority 0; tcp dport { %s } accept; tcp flags syn drop; }
}
"""


@pytest.fixture
def live(far):
    far.add_addresses(ADDRESSES, "cable")
    far.sysctl("net.ipv4.icmp_echo_ignore_all=1")
    return ADDRESSES


def listen(namespace, *ports):
    """Accept connections at (address, port) pairs."""
    process = namespace.start(sys.executable, "-c", LISTEN, json.dumps(ports), stdin=subprocess.PIPE)
    assert process.stdout.readline() == "ready\n", process.stderr.read()


def test_an_open_port_and_a_closed_one_are_both_signs_of_life(sweep, far, live):
    listen(far, ("10.77.0.10", 22), ("10.77.0.11", 22))
    outcome = sweep("10.77.0.10-30", method="tcp", timeout=0.3, retries=0)
    assert outcome.seen() == dict.fromkeys(live, "tcp/22")
    assert [outcome.hosts[address]["port_open"] for address in live] == [True, True, False, False]
    assert all(0 < host["rtt"] < 0.5 for host in outcome.hosts.values())


def test_a_firewall_that_lets_only_one_port_through(sweep, far, live):
    listen(far, ("10.77.0.10", 445), ("10.77.0.11", 3389))
    far.firewall(CLOSED_IS_SILENT % "445, 3389")
    outcome = sweep("10.77.0.10-30", method="tcp", timeout=0.3, retries=0)
    assert outcome.seen() == dict.fromkeys(live, "tcp/445")
    assert outcome.hosts["10.77.0.10"]["port_open"] is True
    assert outcome.hosts["10.77.0.11"]["port_open"] is False


def test_the_wait_ends_when_everybody_has_answered_somewhere(sweep, far, live):
    far.firewall(CLOSED_IS_SILENT % "445")
    outcome = sweep("10.77.0.10-13", method="tcp", timeout=30, names=False)
    assert outcome.seen() == dict.fromkeys(live, "tcp/445")
    assert outcome.seconds < 2


def test_who_answers_at_the_first_port_is_not_asked_at_the_others(sweep, far, live):
    far.firewall(
        "table ip count { chain in { type filter hook input priority 0; "
        "tcp dport { 445, 3389, 80 } counter; tcp dport 22 counter; }; }"
    )
    sweep("10.77.0.10-13", method="tcp", names=False)
    rules = json.loads(far.run("nft", "-j", "list", "ruleset").stdout)["nftables"]
    packets = [
        part["counter"]["packets"]
        for rule in rules
        for part in rule.get("rule", {}).get("expr", ())
        if "counter" in part
    ]
    assert packets[0] == 0
    assert packets[1] >= 4


def test_auto_finds_by_tcp_who_drops_pings(sweep, near, far):
    near.run("ip", "route", "add", "10.99.0.0/24", "via", netns.FAR)
    far.add_addresses(["10.99.0.10", "10.99.0.11"])
    far.sysctl("net.ipv4.icmp_echo_ignore_all=1")
    listen(far, ("10.99.0.10", 445))
    far.firewall(CLOSED_IS_SILENT % "445")
    outcome = sweep("10.99.0.1-30", timeout=0.3, retries=0)
    assert outcome.seen() == {"10.99.0.10": "tcp/445", "10.99.0.11": "tcp/445"}
    assert outcome.hosts["10.99.0.10"]["ports"] == [445]
    assert outcome.hosts["10.99.0.11"]["ports"] == []


def test_auto_without_privileges_is_tcp_and_says_what_to_grant(sweep, far, live):
    outcome = sweep("10.77.0.10-30", uid=netns.NOBODY, timeout=0.3)
    assert outcome.seen() == dict.fromkeys(live, "tcp/22")
    (note,) = outcome.notes
    assert "ping_group_range" in note and "CAP_NET_RAW" in note and "root" in note


def test_a_firewall_that_rejects_for_others_makes_nobody_alive(sweep, near, far):
    """The usual "reject" reads as a refused connection, for every address behind the firewall."""
    near.run("ip", "route", "add", "10.99.0.0/24", "via", netns.FAR)
    far.run("ip", "route", "add", "10.99.0.0/24", "via", netns.NEAR)
    far.sysctl("net.ipv4.ip_forward=1")
    far.sysctl("net.ipv4.icmp_ratelimit=0")
    far.add_addresses(["10.99.0.5"])
    far.firewall(
        "table ip wall { chain through { type filter hook forward priority 0; "
        "reject with icmp port-unreachable; }; }"
    )
    outcome = sweep("10.99.0.0/28", method="tcp", timeout=0.3, retries=0)
    assert set(outcome.hosts) == {"10.99.0.5"}


def test_the_kernel_repeats_a_lost_syn_while_we_wait(sweep, far, live):
    far.firewall(
        "table ip lossy { chain in { type filter hook input priority 0; tcp flags syn limit rate over "
        "1/second burst 1 packets drop; }; }"
    )
    outcome = sweep("10.77.0.10-11", method="tcp", tcp_ports=[22], timeout=0.5, retries=1)
    assert len(outcome.hosts) == 2


def test_more_addresses_than_files_may_be_open(near, sweep, far):
    near.run("ip", "route", "add", "10.99.0.0/23", "via", netns.FAR)
    far.add_addresses(["10.99.1.250"])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        outcome = sweep(
            "10.99.0.0/23", method="tcp", tcp_ports=[22], timeout=0.2, retries=0, watch_files=True
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert outcome.seen() == {"10.99.1.250": "tcp/22"}
    assert outcome.notes == []
    assert outcome.elapsed > 0.5  # in more than one batch
    assert 100 < outcome.files < 200  # something is left for others


@pytest.mark.slow
def test_a_link_with_more_addresses_than_the_kernel_has_room_for(sweep, near, far):
    """A connection is not told that the neighbour table is full: its packets vanish."""
    near.run("ip", "address", "add", "10.78.0.1/20", "dev", "cable")
    far.run("ip", "address", "add", "10.78.0.2/20", "dev", "cable")
    live = {f"10.78.{n}.77" for n in range(5)}
    far.add_addresses(live, "cable")
    for _ in range(3):  # the table is the whole kernel's: the scan of another test may have filled it, too
        outcome = sweep("10.78.0.3-10.78.4.255", method="tcp", tcp_ports=[22], names=False)
        if TABLE_FULL not in outcome.notes:
            break
    assert outcome.seen() == dict.fromkeys(live, "tcp/22")


def test_addresses_without_a_route_are_told(sweep, live):
    outcome = sweep("10.77.0.10", "10.99.0.1", method="tcp", timeout=0.2)
    assert set(outcome.hosts) == {"10.77.0.10"}
    assert outcome.notes == ["10.99.0.1 could not be asked: Network is unreachable"]


def test_a_stop(sweep, near, live):
    near.run("ip", "route", "add", "10.99.0.0/22", "via", netns.FAR)
    asked = {"found": 4, "asked": 500}
    outcome = sweep("10.77.0.10-13", "10.99.0.0/22", method="tcp", timeout=20, stop_at=asked)
    assert set(outcome.hosts) == set(live)
    assert 0 <= outcome.stopping < 0.3
