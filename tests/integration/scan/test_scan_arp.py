"""ARP, and what `auto` makes of it, between namespaces."""

import json

import pytest

from tests.support import netns

LIVE = [f"10.77.0.{n}" for n in range(10, 20)]


def mac_of(namespace, device="cable"):
    return namespace.run("cat", f"/sys/class/net/{device}/address").stdout.strip()


@pytest.fixture
def live(near, far):
    """Address -> MAC of who is there; two of them have network cards of their own."""
    far.add_addresses(LIVE, "cable")
    far.sysctl("net.ipv4.conf.all.arp_ignore=1")
    far.sysctl("net.ipv4.conf.default.arp_ignore=1")
    macs = {netns.NEAR: mac_of(near), **dict.fromkeys((netns.FAR, *LIVE), mac_of(far))}
    for number, mac in ((40, "f0:de:f1:00:00:40"), (41, "00:1b:21:00:00:41")):
        device = f"card{number}"
        far.run(*f"ip link add link cable name {device} address {mac} type macvlan mode bridge".split())
        far.run(*f"ip address add 10.77.0.{number}/32 dev {device}".split())
        far.run("ip", "link", "set", device, "up")
        macs[f"10.77.0.{number}"] = mac
    return macs


def macs(outcome):
    return {address: host["mac"] for address, host in outcome.hosts.items()}


@pytest.mark.parametrize("method", ["arp", "auto"])
def test_who_is_on_the_link_is_found_with_its_mac(sweep, live, method):
    outcome = sweep("10.77.0.0/24", method=method, names=False)
    assert macs(outcome) == live
    assert set(outcome.seen().values()) == {"arp"}
    assert outcome.notes == []
    assert outcome.progress["found"] == len(live)
    assert outcome.seconds < 1.5  # nobody waits for the absent


def test_a_machine_that_drops_everything_is_found(sweep, far, live):
    far.firewall("table ip deaf { chain in { type filter hook input priority 0; drop; }; }")
    outcome = sweep("10.77.0.0/24", names=False)
    assert macs(outcome) == live
    deaf = outcome.hosts["10.77.0.40"]
    assert (deaf["evidence"], deaf["system"], deaf["ports"]) == ("arp", None, [])


def test_the_absent_are_not_asked_by_tcp(sweep, far, live):
    far.firewall("table ip counted { chain in { type filter hook prerouting priority -300; counter; }; }")
    outcome = sweep("10.77.0.100-200", names=False)
    assert outcome.hosts == {}
    assert "packets 0 " in far.run("nft", "list", "ruleset").stdout


def test_a_closer_look_adds_ping_ports_and_a_guess_at_the_system(sweep, far, live):
    far.sysctl("net.ipv4.ip_default_ttl=128")
    far.start("python3", "-c", LISTEN)
    far.run("python3", "-c", AWAIT)
    outcome = sweep("10.77.0.10-11", names=False, tcp_ports=[22, 445])
    assert outcome.hosts["10.77.0.10"]["evidence"] == "arp, ping, tcp/445"
    assert outcome.hosts["10.77.0.10"]["ports"] == [445]
    assert outcome.hosts["10.77.0.10"]["system"] == "Windows"
    assert outcome.hosts["10.77.0.11"]["evidence"] == "arp, ping"
    assert sweep("10.77.0.10", names=False, details=False).hosts["10.77.0.10"]["evidence"] == "arp"


LISTEN = "import socket, time; s = socket.create_server(('10.77.0.10', 445)); time.sleep(60)"
AWAIT = """
import socket, time
for _ in range(100):
    try:
        socket.create_connection(("10.77.0.10", 445), 1).close()
        break
    except OSError:
        time.sleep(0.05)
"""


def test_three_of_ten_packets_are_lost_each_way(sweep, far, live):
    far.firewall(
        "table arp lossy { chain in { type filter hook input priority 0; numgen random mod 10 < 3 drop; }; "
        "chain out { type filter hook output priority 0; numgen random mod 10 < 3 drop; }; }"
    )
    outcome = sweep("10.77.0.0/24", method="arp", names=False, retries=10)
    assert macs(outcome) == live


def test_the_rate_is_held(sweep, far, live):
    outcome = sweep("10.77.0.100-199", method="arp", rate=200, retries=0, timeout=0.1, names=False)
    due = 100 / 200 + 0.1
    assert outcome.elapsed > due - 0.25
    assert outcome.seconds < due + 0.25


def test_on_a_link_and_behind_a_router_in_one_sweep(sweep, near, far, live):
    near.run("ip", "route", "add", "10.99.0.0/24", "via", netns.FAR)
    far.add_addresses(["10.99.0.5"])
    outcome = sweep("10.77.0.0/24", "10.99.0.0/24", names=False, timeout=0.3)
    assert outcome.seen() == {**dict.fromkeys(live, "arp"), "10.99.0.5": "ping"}
    assert outcome.hosts["10.99.0.5"]["mac"] is None


def test_arp_alone_leaves_out_what_is_behind_a_router_and_says_so(sweep, near, live):
    near.run("ip", "route", "add", "10.99.0.0/24", "via", netns.FAR)
    (note,) = sweep("10.77.0.0/24", "10.99.0.5", method="arp", names=False).notes
    assert "10.99.0.5" in note and "not on an Ethernet" in note
    assert sweep("10.99.0.5", method="arp").error.startswith("UsageError: --type arp: none of these")


def test_without_privileges_arp_is_refused_with_what_to_grant(sweep, live):
    error = sweep("10.77.0.0/24", method="arp", uid=netns.NOBODY).error
    assert error.startswith("PermissionNeeded: this account may not send ARP")
    assert "AmbientCapabilities=CAP_NET_RAW" in error


def test_a_ping_sweep_gets_its_macs_from_the_kernel(sweep, live):
    outcome = sweep("10.77.0.0/24", method="ping", names=False)
    assert {**macs(outcome), netns.NEAR: live[netns.NEAR]} == live


def test_two_machines_with_one_address_are_told(sweep, far, live):
    far.run(*"ip address add 10.77.0.40/32 dev card41".split())
    outcome = sweep("10.77.0.35-45", names=False)
    (note,) = outcome.notes
    assert note.startswith("10.77.0.40 answered from two MAC addresses")
    assert "f0:de:f1:00:00:40" in note and "00:1b:21:00:00:41" in note


def test_a_forger_on_the_link_convinces_nobody_of_addresses_not_asked(sweep, near, far, live):
    forger = far.start("python3", "-c", FORGE, mac_of(near))
    assert forger.stdout.readline() == "ready\n"
    assert set(sweep("10.77.0.10-30", method="arp", names=False).hosts) == set(LIVE)


FORGE = """
import socket, struct, sys, time
near = bytes.fromhex(sys.argv[1].replace(":", ""))
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.bind(("cable", 0x0806))
mine = bytes.fromhex("0c0000000001")
def answer(address):
    return (near + mine + b"\\x08\\x06" + struct.pack("!HHBBH", 1, 0x800, 6, 4, 2)
            + mine + socket.inet_aton(address) + near + socket.inet_aton("10.77.0.1"))
print("ready", flush=True)
for _ in range(5000):
    sock.send(answer("10.77.0.99"))  # nobody asked
    sock.send(answer("10.77.0.25")[:30])  # truncated
    time.sleep(0.001)
"""


def test_a_stop_keeps_what_was_found(sweep, live):
    outcome = sweep("10.77.0.0/24", rate=30, stop_at={"found": 3}, names=False)
    assert set(outcome.hosts) < set(live)
    assert len(outcome.hosts) > 2
    assert 0 <= outcome.stopping < 0.3


def test_through_a_device_without_arp_it_is_ping(sweep, near, far):
    near.run(*"ip link set cable arp off".split())
    near.run(*f"ip neigh add 10.77.0.2 lladdr {mac_of(far)} dev cable".split())
    far.run(*f"ip neigh add 10.77.0.1 lladdr {mac_of(near)} dev cable".split())
    assert set(sweep("10.77.0.2", names=False).hosts) == {"10.77.0.2"}


def test_by_nmap(sweep, near, live):
    near.run("ip", "route", "add", "10.99.0.0/30", "via", netns.FAR)
    outcome = sweep("10.77.0.0/26", "10.99.0.1", method="nmap", names=False)
    assert set(outcome.hosts) == set(live)
    assert outcome.seen()["10.77.0.40"] == "nmap/arp-response"
    assert outcome.hosts["10.77.0.40"]["mac"] == "f0:de:f1:00:00:40"


def test_whom_nmap_skips_was_not_asked(sweep, live):
    outcome = sweep("10.77.0.10", "10.99.0.1", method="nmap", names=False)
    assert set(outcome.hosts) == {"10.77.0.10"}
    assert outcome.notes == ["10.99.0.1 could not be asked: Network is unreachable"]


def test_a_stop_ends_nmap(sweep, near, live):
    near.run("ip", "route", "add", "10.99.0.0/16", "via", netns.FAR)
    asked = {"phase": "nmap", "asked": 1}
    outcome = sweep("10.77.0.0/24", "10.99.0.0/16", method="nmap", names=False, rate=100, stop_at=asked)
    assert 0 <= outcome.stopping < 1
    assert "nmap" not in near.run("ip", "netns", "pids", near.name, check=False).stdout
    assert json.dumps(outcome.notes) == "[]"


def test_no_nmap_is_told_with_its_package(sweep, live, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", f"{tmp_path}:/sbin:/usr/sbin")
    (tmp_path / "ip").symlink_to("/sbin/ip")
    assert sweep("10.77.0.10", method="nmap").error == (
        "UsageError: --type nmap: there is no nmap on this machine: apt-get install nmap"
    )
