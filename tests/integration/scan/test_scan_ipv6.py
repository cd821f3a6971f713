"""IPv6 between namespaces: a link of machines with cards of their own, and a network behind a router."""

import sys
from pathlib import Path

import pytest

from tests.support import netns

RESPONDER = Path(__file__).with_name("name_responder.py")
CARDS = {f"fd00:5::{n}": f"00:1b:21:00:00:{n}" for n in (10, 11, 12)}


def mac_of(namespace, device="cable"):
    return namespace.run("cat", f"/sys/class/net/{device}/address").stdout.strip()


def add(namespace, address, device="cable"):
    namespace.run("ip", "-6", "address", "add", address, "dev", device, "nodad")


@pytest.fixture
def live(near, far):
    """Address -> MAC of who is in fd00:5::/64. Each also has a link-local address."""
    add(near, "fd00:5::1/64")
    add(far, "fd00:5::2/64")
    for number, (address, mac) in enumerate(CARDS.items()):
        far.run(*f"ip link add link cable name pc{number} address {mac} type macvlan mode bridge".split())
        add(far, f"{address}/64", f"pc{number}")
        far.run("ip", "link", "set", f"pc{number}", "up")
    for namespace in (near, far):
        namespace.settle()
    return {"fd00:5::1": mac_of(near), "fd00:5::2": mac_of(far), **CARDS}


@pytest.fixture
def routed(near, far, live):
    near.run(*"ip -6 route add fd00:9::/64 via fd00:5::2".split())
    far.sysctl("net.ipv6.conf.all.forwarding=1")
    for n in (7, 8, 9):
        add(far, f"fd00:9::{n}/128", "lo")


def macs(outcome):
    return {address: host["mac"] for address, host in outcome.hosts.items()}


@pytest.mark.parametrize("method", ["auto", "arp"])
def test_who_is_in_a_network_of_the_link_is_found_by_one_question_to_all(sweep, live, method):
    outcome = sweep("fd00:5::/64", method=method, names=False)
    assert macs(outcome) == live
    assert outcome.notes == []
    assert outcome.seconds < 2
    assert outcome.progress["found"] == len(live)
    pc = outcome.hosts["fd00:5::10"]
    assert (pc["evidence"], pc["system"]) == ("ping, ndp", "Linux/Unix")
    assert 0 < pc["rtt"] < 0.5


def test_everybody_on_a_link_is_each_machine_once(sweep, far, live):
    far.run(*"ip -6 address del fd00:5::12/64 dev pc2".split())
    outcome = sweep("ff02::1%cable", names=False)
    assert len(outcome.hosts) == len(live)
    (local,) = (address for address in outcome.hosts if address.startswith("fe80"))
    assert local == "fe80::21b:21ff:fe00:12%cable"
    assert outcome.hosts[local]["mac"] == "00:1b:21:00:00:12"
    assert set(outcome.hosts) - {local} == set(live) - {"fd00:5::12"}


def test_a_machine_that_is_alone_finds_itself(sweep, near):
    add(near, "fd00:5::1/64")
    near.settle()
    assert macs(sweep("fd00:5::/64", names=False)) == {"fd00:5::1": mac_of(near)}


def test_what_is_excluded_is_not_found(sweep, near, live):
    """`exclude` is taken away when targets are read; the link as a whole is asked nevertheless."""
    done = near.run(sys.executable, "-c", EXCLUDING, check=True)
    assert done.stdout.split() == sorted(set(live) - {"fd00:5::11"})


EXCLUDING = """
from labmon.config.tables import ScanConfig
from labmon.scan.kernel import ipv6
from labmon.scan.sweep import Sweep
from labmon.scan.targets.target_set import parse
targets = parse(["fd00:5::/64"], max_hosts=9, exclude=["fd00:5::11"], links=ipv6.networks(ipv6.own()))
print(*sorted(host.address for host in Sweep(targets, ScanConfig(names=False))))
"""


@pytest.mark.parametrize("method", ["auto", "arp"])
@pytest.mark.parametrize(
    "targets", [["fd00:5::/120"], ["fd00:5::1-fd00:5::ff"], ["fd00:5::10-12", "fd00:5::1-2"]]
)
def test_given_addresses_are_solicited(sweep, live, targets, method):
    outcome = sweep(*targets, method=method, names=False)
    assert macs(outcome) == live
    assert outcome.hosts["fd00:5::10"]["evidence"].startswith("ndp")


def test_a_machine_that_drops_everything_is_found_by_solicitation(sweep, far, live):
    far.firewall(
        "table ip6 deaf { chain in { type filter hook input priority 0; "
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept; drop; }; }"
    )
    assert macs(sweep("fd00:5::/120", names=False)) == live


def test_such_a_machine_is_found_in_its_network_too_when_it_is_known(near, far, live):
    """By the kernel's own table, or by the caller; one question to all it does not answer."""
    far.firewall(
        "table ip6 deaf { chain in { type filter hook input priority 0; icmpv6 type echo-request drop; }; }"
    )
    near.run(*"ip -6 neigh replace fd00:5::10 lladdr 00:1b:21:00:00:10 dev cable nud stale".split())
    for method in ("auto", "arp"):
        found = near.run(sys.executable, "-c", KNOWN, method).stdout.split()
        assert found == ["fd00:5::1", "fd00:5::10", "fd00:5::11"]


def test_where_nobody_may_be_solicited_the_known_are_pinged(near, far, live):
    """When nobody hears the question to all."""
    far.firewall(
        "table ip6 deaf { chain in { type filter hook input priority 0; "
        "ip6 daddr ff02::1 icmpv6 type echo-request drop; }; }"
    )
    assert near.run(sys.executable, "-c", KNOWN, "ping").stdout.split() == ["fd00:5::1", "fd00:5::11"]


KNOWN = """
import sys
from labmon.config.tables import ScanConfig
from labmon.scan.kernel import ipv6
from labmon.scan.sweep import Sweep
from labmon.scan.targets.target_set import parse
targets = parse(["fd00:5::/64"], max_hosts=9, links=ipv6.networks(ipv6.own()))
known = ["fd00:5::11", "fd00:5::99", "fd00:6::1"]
sweep = Sweep(targets, ScanConfig(names=False), method=sys.argv[1], known=known)
print(*sorted(host.address for host in sweep))
"""


def test_off_link_it_is_echo_and_tcp_for_those_that_drop_it(sweep, far, routed):
    outcome = sweep("fd00:9::/120", names=False, timeout=0.3)
    assert outcome.seen() == {f"fd00:9::{n}": "ping" for n in (7, 8, 9)}
    assert macs(outcome) == dict.fromkeys(outcome.hosts)
    assert outcome.hosts["fd00:9::7"]["ttl"] == 64
    far.firewall(
        "table ip6 quiet { chain in { type filter hook input priority 0; "
        "ip6 daddr fd00:9::8 icmpv6 type echo-request drop; }; }"
    )
    outcome = sweep("fd00:9::7-8", names=False, timeout=0.3)
    assert outcome.seen() == {"fd00:9::7": "ping", "fd00:9::8": "tcp/22"}
    assert sweep("fd00:9::7-9", method="tcp", names=False).seen() == {
        f"fd00:9::{n}": "tcp/22" for n in (7, 8, 9)
    }


def test_a_firewall_that_rejects_for_others_makes_nobody_alive(sweep, near, far, routed):
    far.firewall(
        "table ip6 no { chain in { type filter hook prerouting priority -300; "
        "ip6 daddr fd00:9::8 ip6 daddr set fd00:9::99; }; "
        "chain through { type filter hook forward priority 0; reject with icmpv6 port-unreachable; }; }"
    )
    far.run(*"ip -6 route add fd00:9::99/128 dev cable".split())
    outcome = sweep("fd00:9::7-8", method="tcp", names=False, timeout=0.3, retries=0)
    assert set(outcome.hosts) == {"fd00:9::7"}


def test_both_families_in_one_sweep(sweep, routed):
    outcome = sweep("10.77.0.0/28", "fd00:5::/64", "fd00:9::/120", "::1", names=False, timeout=0.3)
    assert set(outcome.hosts) == {
        "10.77.0.1", "10.77.0.2", *("fd00:5::" + n for n in ("1", "2", "10", "11", "12")),
        *("fd00:9::" + n for n in "789"), "::1",
    }  # fmt: skip


@pytest.mark.parametrize("lost", [0, 5])
def test_a_large_network_behind_a_router_at_full_speed(sweep, near, far, routed, lost):
    """The kernel must know the router before packets come thick and fast, though it misses questions."""
    near.run(*"ip -6 neigh flush dev cable".split())
    far.firewall(
        "table ip6 once { chain in { type filter hook input priority 0; "
        f"icmpv6 type nd-neighbor-solicit quota until {72 * lost} bytes drop; }}; }}"
    )
    for n in range(16):
        add(far, f"fd00:9::{n:x}77/128", "lo")
    outcome = sweep("fd00:9::/116", method="ping", rate=0, retries=0, names=False)
    assert {f"fd00:9::{n:x}77" for n in range(1, 16)} <= set(outcome.hosts)


def test_three_of_ten_packets_are_lost_each_way(sweep, far, live):
    """And are asked for until everybody has been heard, which takes more than the usual retries."""
    more = {f"fd00:5::{n}": live["fd00:5::2"] for n in range(20, 36)}
    for address in more:
        add(far, f"{address}/64")
    far.firewall(
        "table ip6 lossy { chain in { type filter hook input priority 0; numgen random mod 10 < 3 drop; }; "
        "chain out { type filter hook output priority 0; numgen random mod 10 < 3 drop; }; }"
    )
    assert macs(sweep("fd00:5::/120", names=False, retries=25)) == live | more


def test_a_proxy_answers_for_a_machine_but_its_mac_is_not_that_machines(sweep, far, live):
    far.sysctl("net.ipv6.conf.cable.proxy_ndp=1")
    far.sysctl("net.ipv6.neigh.cable.proxy_delay=0")
    far.sysctl("net.ipv6.conf.all.forwarding=1")
    far.run(*"ip -6 neigh add proxy fd00:5::77 dev cable".split())
    outcome = sweep("fd00:5::77", "fd00:5::10", method="arp", names=False)
    assert outcome.seen() == {"fd00:5::77": "ndp", "fd00:5::10": "ndp"}
    assert outcome.hosts["fd00:5::10"]["mac"] == "00:1b:21:00:00:10"
    assert outcome.hosts["fd00:5::77"]["mac"] != mac_of(far)


def test_a_forger_on_the_link_convinces_nobody_of_addresses_not_asked(sweep, near, far, live):
    forger = far.start("python3", "-c", FORGE, mac_of(near))
    assert forger.stdout.readline() == "ready\n"
    assert set(sweep("fd00:5::1-20", method="arp", names=False).hosts) == set(live)
    assert set(sweep("fd00:5::/64", names=False).hosts) == set(live)


FORGE = """
import socket, struct, sys, time
near, mine = bytes.fromhex(sys.argv[1].replace(":", "")), bytes.fromhex("0c0000000001")
def packed(address): return socket.inet_pton(socket.AF_INET6, address)
def summed(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
def frame(message, hops=255, source="fd00:5::dead"):
    ends = packed(source) + packed("fd00:5::1")
    sum_ = summed(ends + struct.pack("!II", len(message), 58) + message)
    message = message[:2] + struct.pack("!H", sum_) + message[4:]
    header = near + mine + b"\\x86\\xdd" + struct.pack("!IHBB", 6 << 28, len(message), 58, hops)
    return header + ends + message
def advertisement(address):
    return struct.pack("!BBHI", 136, 0, 0, 0x60000000) + packed(address) + b"\\x02\\x01" + mine
frames = [
    frame(advertisement("fd00:5::dead")),  # nobody asked
    frame(advertisement("fd00:5::5"), hops=64),  # from beyond the link
    frame(advertisement("fd00:5::6"))[:70],  # truncated
    frame(struct.pack("!BBHHH", 129, 0, 0, 1, 1) + bytes(32), source="fd00:5::7"),  # an echo of nothing
]
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.bind(("cable", 0x86DD))
print("ready", flush=True)
for _ in range(5000):
    for one in frames:
        sock.send(one)
    time.sleep(0.001)
"""


def test_without_privileges_a_network_of_the_link_is_asked_by_ping(sweep, near, live):
    near.sysctl("net.ipv4.ping_group_range=0 2147483647")
    outcome = sweep("fd00:5::/64", names=False, uid=netns.NOBODY)
    assert macs(outcome) == live | {"fd00:5::1": None}  # nobody has to ask for one's own
    (note,) = outcome.notes
    assert note.startswith("This account may not send ARP") and "CAP_NET_RAW" in note
    assert set(sweep("ff02::1%cable", names=False, uid=netns.NOBODY).hosts) == set(live)


def test_without_permission_to_ping_it_is_told_what_to_grant(sweep, live):
    outcome = sweep("fd00:5::/64", names=False, uid=netns.NOBODY)
    assert outcome.error.startswith("PermissionNeeded: this account may not ping")
    outcome = sweep("fd00:5::/64", "10.77.0.2", names=False, uid=netns.NOBODY)
    assert set(outcome.hosts) == {"10.77.0.2"}
    assert outcome.notes[0].startswith("fd00:5::/64 was not asked: this account may not ping")


@pytest.mark.parametrize("method", ["tcp", "nmap"])
def test_methods_that_cannot_do_it_say_so(sweep, live, method):
    outcome = sweep("fd00:5::/64", method=method)
    assert outcome.error.startswith(f"UsageError: fd00:5::/64: --type {method} cannot find the machines of")


def test_by_nmap(sweep, live):
    outcome = sweep("fd00:5::10-12", "10.77.0.2", method="nmap", names=False)
    assert set(outcome.hosts) == {*CARDS, "10.77.0.2"}


def test_a_stop_keeps_what_was_found(sweep, near, live):
    near.run(*"ip -6 route add fd00:9::/64 via fd00:5::2".split())
    asked = {"phase": "ping", "asked": 100}
    outcome = sweep("fd00:5::/64", "fd00:9::/112", names=False, rate=500, stop_at=asked)
    assert set(outcome.hosts) == set(live)
    assert 0 <= outcome.stopping < 0.3


def test_a_machine_without_ipv6_says_so(sweep, near):
    near.sysctl("net.ipv6.conf.all.disable_ipv6=1")
    outcome = sweep("10.77.0.2", "fd00:9::1", names=False, timeout=0.2)
    assert set(outcome.hosts) == {"10.77.0.2"}
    (note,) = outcome.notes
    assert note.startswith("fd00:9::1 could not be asked: ")


def test_names_of_ipv6_machines_by_reverse_dns_and_by_multicast(sweep, near, far, live):
    near.write_etc("resolv.conf", "")
    near.write_etc("hosts", "fd00:5::10 pc-10\n")
    add(far, "fd00:5::14/64")
    far.add_addresses([f"10.77.0.{n}" for n in range(10, 17)], "cable")
    responder = far.start(sys.executable, str(RESPONDER), "fd00:5::14")
    assert responder.stdout.readline() == "ready\n"
    outcome = sweep("fd00:5::10-14")
    assert {address: host["hostname"] for address, host in outcome.hosts.items()} == {
        "fd00:5::10": "pc-10",
        "fd00:5::11": None,
        "fd00:5::12": None,
        "fd00:5::14": "lab-pc-14.local",
    }
    assert outcome.seconds < 2.5
