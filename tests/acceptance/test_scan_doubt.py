"""Scans of networks whose answers, or whose silence, prove nothing: nobody is stored or gone by mistake."""

import json
import sys

import pytest

from tests.acceptance.conftest import LABMON
from tests.support import netns


@pytest.fixture(autouse=True)
def without_names(lab):
    """No test here is about names, and a machine without DNS waits for them."""
    lab.environ["LABMON_SCAN_NAMES"] = "false"


@pytest.fixture
def machines():
    netns.require()
    with netns.pair() as both:
        yield both


@pytest.fixture
def near(machines):
    return machines[0]


@pytest.fixture
def far(machines):
    return machines[1]


@pytest.fixture
def site(lab, postgres_server, schema_template):
    with postgres_server.database(schema_template) as name:
        lab.environ["LABMON_DATABASE_URL"] = postgres_server.socket_url(name)
        yield lab


@pytest.fixture
def scan(site, near):
    def run(*arguments, code=0, **environ):
        command = [LABMON, "scan", *arguments, "--dept", "1"]
        done = near.run(*command, env=site.env | environ, check=False, timeout=120)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == code, done.stderr
        return done

    return run


def stored(site):
    return {one["ip_address"] for one in json.loads(site.run("systems", "list", "-f", "json").stdout)}


def last_scan(site):
    return json.loads(site.run("systems", "history", "--scans", "-f", "json").stdout)[-1]


@pytest.fixture
def resetting(near, far):
    """A router that answers every connection behind it with a reset, and no ping; two machines are real."""
    near.run("ip", "route", "add", "10.99.0.0/16", "via", netns.FAR)
    far.run("ip", "route", "add", "local", "10.99.0.0/16", "dev", "lo")
    far.firewall(
        "table ip wall { chain in { type filter hook input priority 0; "
        "ip daddr { 10.99.0.7, 10.99.0.9 } accept; icmp type echo-request drop; }; }"
    )


# findings A14
@pytest.mark.parametrize("network, arguments", [("10.99.0.0/22", []), ("10.99.0.0/24", ["--type", "tcp"])])
def test_a_router_that_resets_for_every_address_makes_no_machines(site, scan, resetting, network, arguments):
    done = scan(network, *arguments, code=6, LABMON_SCAN_TCP_PORTS="[22]")
    (line,) = [one for one in done.stderr.splitlines() if "--force" in one]
    assert "answered only with resets" in line and "not stored" in line
    assert stored(site) == (set() if arguments else {"10.99.0.7", "10.99.0.9"})
    assert "10.99.0.11 " not in done.stdout


# findings A14
def test_with_force_they_are_stored_and_nothing_is_said(site, scan, resetting):
    done = scan("10.99.0.0/26", "--force", LABMON_SCAN_TCP_PORTS="[22]")
    assert "resets" not in done.stderr
    assert len(stored(site)) == 62


# findings A14
def test_it_is_said_to_cron_and_makes_no_known_machine_gone(site, near, far, scan, resetting):
    far.sysctl("net.ipv4.icmp_echo_ignore_all=0")
    scan("10.99.0.7")
    scan("10.99.0.9")
    far.run("nft", "flush", "ruleset")
    far.sysctl("net.ipv4.icmp_echo_ignore_all=1")  # now the real ones answer like all the others
    done = scan("10.99.0.0/24", "--quiet", code=6, LABMON_SCAN_TCP_PORTS="[22]")
    assert len(done.stderr.splitlines()) == 1 and "--force" in done.stderr
    assert site.run("systems", "list", "--gone").stdout == ""
    assert last_scan(site)["systems_gone"] == 0


# findings D7
@pytest.mark.parametrize("arguments", [[], ["--type", "arp"]])
def test_a_proxy_for_all_addresses_of_a_link_makes_no_machines(site, near, far, scan, arguments):
    near.run("ip", "address", "add", "10.78.0.1/22", "dev", "cable")
    far.run("ip", "address", "add", "10.78.0.2/22", "dev", "cable")
    far.run(*"ip link add beyond type veth peer name further".split())
    far.run("ip", "link", "set", "further", "up")
    far.run("ip", "link", "set", "beyond", "up")
    far.run("ip", "route", "add", "10.78.0.0/23", "dev", "beyond", "metric", "1")
    far.run("ip", "route", "add", "10.78.2.0/23", "dev", "beyond", "metric", "1")
    far.run("ip", "route", "add", "10.78.0.1/32", "dev", "cable")
    far.sysctl("net.ipv4.conf.cable.proxy_arp=1")
    far.sysctl("net.ipv4.neigh.cable.proxy_delay=0")
    far.sysctl("net.ipv4.ip_forward=1")
    done = scan("10.78.0.0/22", *arguments, code=6)
    assert "answered with one MAC" in done.stderr and "--force" in done.stderr
    assert stored(site) <= {"10.78.0.1", "10.78.0.2"}


LIMIT = (
    "table ip slow {{ chain in {{ type filter hook prerouting priority -300; "
    "icmp type echo-request limit rate over {}/second burst 5 packets drop; }}; }}"
)


# findings D6
@pytest.mark.parametrize("rate", [50, 200])
def test_a_router_that_limits_pings_hides_no_machine(site, near, far, scan, rate):
    near.run("ip", "route", "add", "10.99.0.0/24", "via", netns.FAR)
    live = {f"10.99.0.{n}" for n in range(20, 220, 2)}
    far.add_addresses(live)
    scan("10.99.0.0/24", "--type", "ping")
    assert stored(site) == live
    far.firewall(LIMIT.format(rate))
    done = scan("10.99.0.0/24", "--type", "ping")
    found = last_scan(site)
    assert found["systems_found"] >= 95
    assert found["systems_gone"] == 0
    assert found["status"] == "completed" or "machines may be missing" in done.stderr


# findings D6
def test_a_scan_that_lost_packets_says_so_and_makes_nobody_gone(site, near, far, scan):
    near.run("ip", "route", "add", "10.99.0.0/24", "via", netns.FAR)
    far.add_addresses([f"10.99.0.{n}" for n in range(20, 120, 2)])
    scan("10.99.0.0/24", "--type", "ping")
    far.firewall(
        "table ip lossy { chain in { type filter hook prerouting priority -300; "
        "icmp type echo-request numgen random mod 10 < 6 drop; }; }"
    )
    done = scan("10.99.0.0/24", "--type", "ping", LABMON_SCAN_RETRIES="2")
    assert "packets were lost on the way" in done.stderr
    assert "only a whole scan can tell" in done.stderr
    found = last_scan(site)
    assert (found["status"], found["systems_gone"]) == ("incomplete", 0)
    assert found["systems_found"] < 50
    assert site.run("systems", "list", "--gone").stdout == ""


DELAYED = """
import os, socket, struct, sys, threading, time
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
raw.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
raw.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 7)
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF
def answer(packet):
    header = (packet[0] & 15) * 4
    message = bytes((0,)) + packet[header + 1 : header + 2] + bytes(2) + packet[header + 4 :]
    message = message[:2] + struct.pack("!H", checksum(message)) + message[4:]
    source, target = packet[12:16], packet[16:20]
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(message), 0, 0, 64, 1, 0, target, source)
    raw.sendto(ip + message, (socket.inet_ntoa(source), 0))
print("ready", flush=True)
slow = set(sys.argv[2:])
while True:
    packet = raw.recv(2048)
    if packet[(packet[0] & 15) * 4] == 8 and socket.inet_ntoa(packet[16:20]) in slow:
        threading.Timer(float(sys.argv[1]), answer, [packet]).start()
"""


# findings D6
@pytest.mark.parametrize("arguments", [[], ["--type", "ping"]])
@pytest.mark.parametrize("delay", ["0.8", "0.5"])
def test_slow_machines_beside_quick_ones_are_found(site, near, far, scan, arguments, delay):
    near.run("ip", "route", "add", "10.99.0.0/24", "via", netns.FAR)
    slow = {f"10.99.0.{n}" for n in range(31, 37)}
    quick = {f"10.99.0.{n}" for n in range(50, 150)}
    far.add_addresses(slow | quick)
    rules = ", ".join(sorted(slow))
    far.firewall(
        "table ip wall { chain out { type filter hook output priority 0; "
        f"ip saddr {{ {rules} }} meta mark != 7 drop; }}; }}"
    )
    responder = far.start(sys.executable, "-c", DELAYED, delay, *slow)
    assert responder.stdout.readline() == "ready\n"
    scan("10.99.0.0/24", *arguments)
    assert stored(site) == slow | quick


DELAYED_ARP = """
import socket, struct, sys, threading
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
sock.bind(("cable", 0x0806))
macs = {socket.inet_aton(one): bytes.fromhex(f"f0def10000{n:02x}") for n, one in enumerate(sys.argv[2:], 1)}
print("ready", flush=True)
while True:
    frame = sock.recv(128)
    _, _, _, _, kind, mac, sender, _, target = struct.unpack_from("!HHBBH6s4s6s4s", frame, 14)
    if kind == 1 and target in macs:
        own = macs[target]
        reply = mac + own + bytes.fromhex("0806" "0001080006040002") + own + target + mac + sender
        threading.Timer(float(sys.argv[1]), sock.send, [reply]).start()
"""


# findings D6
@pytest.mark.parametrize(
    "arguments, delay", [([], "0.8"), (["--type", "arp"], "0.8"), (["--no-names"], "0.8")]
)
def test_slow_machines_on_the_own_link_are_found(site, near, far, scan, arguments, delay):
    near.write_etc("resolv.conf", "")
    site.environ["LABMON_SCAN_NAMES"] = "true"
    slow = [f"10.77.0.{n}" for n in range(31, 37)]
    responder = far.start(sys.executable, "-c", DELAYED_ARP, delay, *slow)
    assert responder.stdout.readline() == "ready\n"
    far.add_addresses([f"10.77.0.{n}" for n in range(50, 100)], "cable")
    scan("10.77.0.0/24", *arguments)
    assert stored(site) >= {*slow, *(f"10.77.0.{n}" for n in range(50, 100))}


# findings A15
def test_a_table_of_neighbours_that_an_earlier_scan_filled_hides_no_machine(site, near, far, scan):
    near.run("ip", "address", "add", "10.78.0.1/20", "dev", "cable")
    far.run("ip", "address", "add", "10.78.0.2/20", "dev", "cable")
    live = {"10.78.0.5", "10.78.0.6", "10.78.0.7"}
    far.add_addresses(live, "cable")
    far.sysctl("net.ipv4.icmp_echo_ignore_all=1")
    filler = near.start(sys.executable, "-c", FILL)
    assert filler.stdout.readline() == "filled\n"
    scan("10.78.0.5-7", "--type", "tcp", LABMON_SCAN_RETRIES="0", LABMON_SCAN_TIMEOUT="500ms")
    assert stored(site) == live


FILL = """
import socket, time
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) for _ in range(14)]
until = time.monotonic() + 4
filled = False
while time.monotonic() < until:
    for n in range(1400):
        try:
            sockets[n // 100].sendto(b"", (f"10.78.{n + 256 >> 8}.{n + 256 & 255}", 9))
        except OSError:
            pass
    if not filled:
        print("filled", flush=True)
    filled = True
    time.sleep(0.02)
"""
