"""What a scan leaves behind: changes, history, departments, locks. On loopback, where everybody answers."""

import csv
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest

from tests.acceptance.conftest import LABMON, either_store
from tests.support import netns


@pytest.fixture(autouse=True)
def without_names(lab):
    """No test here is about names, and a machine without DNS waits for them."""
    lab.environ["LABMON_SCAN_NAMES"] = "false"


@pytest.fixture
def site(lab, postgres_server, schema_template):
    """A lab whose store is a server that network namespaces can reach too."""
    with postgres_server.database(schema_template) as name:
        lab.environ["LABMON_DATABASE_URL"] = postgres_server.socket_url(name)
        yield lab


class OnTerminal:
    """A command of `lab` whose stderr is a terminal."""

    def __init__(self, lab, *arguments):
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [LABMON, *arguments],
            env=lab.env | {"TERM": "xterm", "LINES": "40"},
            cwd=lab.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        )
        os.close(theirs)
        self.screen = b""

    def read_until(self, text):
        """Until the screen has shown it; None: until the command has closed its terminal."""
        deadline = time.monotonic() + 60
        while text is None or text not in self.screen:
            assert time.monotonic() < deadline, self.screen
            if select.select([self._ours], [], [], 0.2)[0]:
                try:
                    self.screen += os.read(self._ours, 65536)
                except OSError:  # nobody has it open any more
                    assert text is None, self.screen
                    return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._ours)


def test_a_scan_ends_with_what_changed(site):
    first = site.run("scan", "127.0.0.1-6", "--dept", "1").stderr
    assert "6 new, 0 moved; the first whole scan of this range" in first
    again = site.run("scan", "127.0.0.0/29", "--dept", "1").stderr
    assert "0 new, 0 moved, 0 gone since the scan of 20" in again

    site.run("scan", "127.0.0.8", "--dept", "1", "-q")
    excluded = site.run("scan", "127.0.0.1-9", "--exclude", "127.0.0.8", "--dept", "1").stderr
    assert "2 new, 0 moved; the first" in excluded
    assert site.run("systems", "list", "--gone").stdout == ""

    changes = json.loads(site.run("systems", "history", "-f", "json").stdout)
    assert [one["change"] for one in changes] == ["found"] * 9
    (one,) = json.loads(site.run("systems", "history", "3", "-f", "json").stdout)
    assert one["new_value"] == "127.0.0.3"
    scans = json.loads(site.run("systems", "history", "--scans", "-f", "json").stdout)
    assert [scan["systems_new"] for scan in scans] == [6, 0, 1, 2]
    assert [
        len(json.loads(site.run("systems", "history", "--scan", scan["scan_id"], "-f", "json").stdout))
        for scan in scans
    ] == [6, 0, 1, 2]


def test_real_machines_move_swap_go_and_come_back(site):
    netns.require()
    with netns.pair() as (near, far):

        def scan(code=0):
            done = near.run(LABMON, "scan", "10.77.0.0/24", "--dept", "1", env=site.env, check=False)
            assert done.returncode == code, done.stderr
            return done

        def plug(card, address):
            far.run("ip", "address", "flush", "dev", card)
            if address:
                far.run("ip", "address", "add", f"{address}/32", "dev", card)

        for name in ("all", "default"):
            far.sysctl(f"net.ipv4.conf.{name}.arp_ignore=1")
        for card, mac in (("pc-a", "f0:de:f1:00:00:0a"), ("pc-b", "f0:de:f1:00:00:0b")):
            far.run(*f"ip link add link cable name {card} address {mac} type macvlan mode bridge".split())
            far.run("ip", "link", "set", card, "up")
        plug("pc-a", "10.77.0.11")
        plug("pc-b", "10.77.0.12")
        assert "4 new, 0 moved; the first whole scan" in scan().stderr
        plug("pc-a", None)
        plug("pc-b", "10.77.0.11")
        plug("pc-a", "10.77.0.12")
        assert "0 new, 2 moved, 0 gone" in scan().stderr
        plug("pc-b", None)
        said = scan().stderr
        assert "0 new, 0 moved, 1 gone" in said
        assert re.search(r"  gone +system \d+: 10.77.0.11", said)
        assert len(json.loads(site.run("systems", "list", "--gone", "-f", "json").stdout)) == 1
        plug("pc-b", "10.77.0.13")
        assert "0 new, 1 moved, 0 gone" in scan().stderr
        assert site.run("systems", "list", "--gone").stdout == ""


# findings A8
def test_a_router_in_two_networks_that_are_scanned_apart_stays_two_systems(site):
    netns.require()
    with netns.pair() as (near, far):
        for network in (5, 6):
            near.run("ip", "address", "add", f"10.30.{network}.2/28", "dev", "cable")
            far.run("ip", "address", "add", f"10.30.{network}.1/28", "dev", "cable")
        for _ in range(3):
            for dept, network in ((1, 5), (2, 6)):
                scan = ["scan", f"10.30.{network}.1", "--dept", str(dept)]
                said = near.run(LABMON, *scan, env=site.env).stderr
                assert "0 moved" in said
        listed = json.loads(site.run("systems", "list", "-f", "json").stdout)
        assert [(one["ip_address"], one["dept_id"]) for one in listed] == [("10.30.5.1", 1), ("10.30.6.1", 2)]
        assert len({one["mac_address"] for one in listed}) == 1
        history = json.loads(site.run("systems", "history", "-f", "json").stdout)
        assert [one["change"] for one in history] == ["found", "found"]


@either_store
def test_through_the_queue_the_changes_are_recorded_where_they_are_stored(stored_lab):
    lab = stored_lab
    said = lab.run("scan", "127.0.0.1-6", "--dept", "1", "--queue-enabled").stderr
    assert "new" not in said
    lab.run("consume", "--until-empty", "--queue", "discovery")
    (scan,) = json.loads(lab.run("systems", "history", "--scans", "-f", "json").stdout)
    assert (scan["systems_new"], scan["systems_gone"], scan["target_range"]) == (6, 0, "127.0.0.1-127.0.0.6")


def test_one_machine_with_all_that_is_known_of_it(site):
    site.run("scan", "127.0.0.1-2", "--dept", "4", "-q")
    shown = site.run("systems", "show", "2").stdout
    assert "127.0.0.2" in shown
    assert "found" in shown
    (row,) = json.loads(site.run("systems", "show", "2", "-f", "json").stdout)
    assert (row["system_id"], row["dept_id"], row["mac_flag"]) == (2, 4, None)
    assert list(csv.DictReader(io.StringIO(site.run("systems", "show", "2", "-f", "csv").stdout)))
    for command in ("show", "history"):
        done = site.run("systems", command, "99", code=2)
        assert "no system 99" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_department_is_scanned_by_its_subnets(site):
    assert "no departments yet" in site.run("departments", "list").stderr
    assert "labmon departments set 1" in site.run("scan", "--dept", "1", code=2).stderr
    site.run("departments", "set", "1", "--name", "Physics", "--code", "PHY")
    assert "has no subnets" in site.run("scan", "--dept", "1", code=2).stderr
    site.run("departments", "set", "1", "--subnet", "127.0.0.5/30", "--subnet", "127.0.1.0/30")
    found = json.loads(site.run("scan", "--dept", "1", "-f", "json").stdout)
    assert [host["ip_address"] for host in found] == ["127.0.0.5", "127.0.0.6", "127.0.1.1", "127.0.1.2"]
    (row,) = json.loads(site.run("departments", "list", "-f", "json").stdout)
    assert row == {
        "dept_id": 1,
        "code": "PHY",
        "name": "Physics",
        "subnets": ["127.0.0.4/30", "127.0.1.0/30"],
        "systems": 4,
        "new_as": "active",
        "quarantined": 0,
    }
    site.run("departments", "set", "1", "--no-subnets")
    assert json.loads(site.run("departments", "list", "-f", "json").stdout)[0]["subnets"] == []
    assert (
        "--subnet '10.0.0.0/99'"
        in site.run("departments", "set", "1", "--subnet", "10.0.0.0/99", code=2).stderr
    )


def test_two_scans_of_a_range_never_overlap(lab):
    slow = ("scan", "127.0.1.0/24", "--dept", "1", "--rate", "20", "--type", "ping", "--dry-run")
    with lab.start(*slow) as scan:
        deadline = time.monotonic() + 20
        while not list((lab.folder / "state").glob("scans/*.lock")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.2)
        for quiet in ([], ["--quiet"]):
            done = lab.run("scan", "127.0.1.200-127.0.2.9", "--dept", "1", *quiet, code=7)
            assert done.stdout == ""
            assert len(done.stderr.splitlines()) == 1
            assert f"process {scan.pid}, since 20" in done.stderr
        lab.run("scan", "127.0.0.1", "--dept", "1", "--dry-run")
        scan.kill()
        scan.wait()
    lab.run("scan", "127.0.1.200", "--dept", "1", "--dry-run")


def test_an_interrupted_scan_says_so_and_makes_nobody_gone(site):
    site.run("scan", "127.0.1.0/24", "--dept", "1", "-q")
    slow = ("scan", "127.0.1.0/24", "--dept", "1", "--rate", "20", "--type", "ping")
    with OnTerminal(site, *slow) as scan:
        scan.read_until(b"127.0.1.2")
        scan.process.send_signal(signal.SIGINT)
        scan.read_until(None)
        assert scan.process.wait(30) == 130
    assert b"only a whole scan can tell" in scan.screen
    assert b"interrupted: what was found by then is kept" in scan.screen
    assert site.run("systems", "list", "--gone").stdout == ""


@pytest.mark.parametrize("arguments", [["--format", "json"], ["--format", "csv"]])
def test_programs_get_the_ports_and_the_evidence(lab, arguments):
    out = lab.run("scan", "127.0.0.1", "--dept", "1", "--dry-run", *arguments).stdout
    for name in ("ip_address", "mac_address", "vendor", "os_guess", "ports", "seen_by"):
        assert name in out


def test_on_a_terminal_the_machines_appear_while_the_scan_runs(lab):
    slow = ("scan", "127.0.1.0/24", "--dept", "1", "--rate", "60", "--type", "ping", "--dry-run")
    with OnTerminal(lab, *slow) as scan:
        scan.read_until(b"127.0.1.9")
        assert scan.process.poll() is None, "it was still running"
        assert b"asked" in scan.screen


def test_a_link_of_ipv6_machines_over_time(site):
    netns.require()
    with netns.pair() as (near, far):

        def scan(*targets, code=0, **environ):
            command = [LABMON, "scan", *targets, "--dept", "1"]
            done = near.run(*command, env=site.env | environ, check=False)
            assert done.returncode == code, done.stderr
            return done

        for namespace, address in ((near, "fd00:5::1/64"), (far, "fd00:5::2/64")):
            namespace.run("ip", "-6", "address", "add", address, "dev", "cable", "nodad")
        for card, mac in (("pc-a", "f0:de:f1:00:00:0a"), ("pc-b", "f0:de:f1:00:00:0b")):
            far.run(*f"ip link add link cable name {card} address {mac} type macvlan mode bridge".split())
            far.run(*f"ip -6 address add fd00:5::{card[-1]}/64 dev {card} nodad".split())
            far.run("ip", "link", "set", card, "up")
        near.settle()
        far.settle()

        said = scan("fd00:5::/64").stderr
        assert "4 of fd00:5::/64 on cable answered" in said
        assert "4 new, 0 moved; the first whole scan of this range" in said
        assert "0 new, 0 moved, 0 gone since the scan of 20" in scan("ff02::1%cable").stderr
        assert "0 new, 0 moved, 0 gone since the scan of 20" in scan("fd00:5::/120").stderr

        # One moves, and one no longer answers a question to all, but is known and asked by itself.
        far.run(*"ip -6 address del fd00:5::a/64 dev pc-a".split())
        far.run(*"ip -6 address add fd00:5::aaaa/64 dev pc-a nodad".split())
        far.firewall(
            "table ip6 deaf { chain in { type filter hook input priority 0; "
            'iifname "pc-b" icmpv6 type echo-request drop; }; }'
        )
        near.run(*"ip -6 neigh flush dev cable".split())
        said = scan("fd00:5::/64").stderr
        assert "0 new, 1 moved, 0 gone" in said
        assert re.search(r"  moved +system \d: fd00:5::a -> fd00:5::aaaa", said)

        far.run("ip", "link", "set", "pc-b", "down")
        assert "0 new, 0 moved, 1 gone" in scan("fd00:5::/64").stderr
        (gone,) = json.loads(site.run("systems", "list", "--gone", "-f", "json").stdout)
        assert (gone["ip_address"], gone["mac_address"]) == ("fd00:5::b", "f0:de:f1:00:00:0b")

        # The department's subnets of both families, and a machine with no more than a link-local address.
        site.run("departments", "set", "1", "--subnet", "10.77.0.0/29", "--subnet", "fd00:5::/64")
        assert "6 addresses, fd00:5::/64 on cable answered" in scan().stderr
        listed = json.loads(site.run("systems", "list", "-f", "json").stdout)
        at = {one["ip_address"] for one in listed}
        assert at == {"10.77.0.1", "10.77.0.2", "fd00:5::aaaa", "fd00:5::b"}  # two stand at IPv4 now
        far.run(*"ip -6 address del fd00:5::aaaa/64 dev pc-a".split())
        done = scan("ff02::1%cable")
        assert "fe80::f2de:f1ff:fe00:a%cable" in done.stdout
        assert "not stored: 1 at link-local addresses" in done.stderr
        assert len(json.loads(site.run("systems", "list", "-f", "json").stdout)) == len(listed)

        refused = scan("fd00:9::/64", code=2).stderr
        assert "on no link of this machine" in refused and len(refused.splitlines()) == 1
        assert "may not be scanned" in scan("fd00:5::/64", code=2, LABMON_SCAN_ALLOW="10.77.0.0/24").stderr


def test_through_the_queue_an_ipv6_scan_asks_whom_the_inventory_on_disk_knows(site):
    """By one question to all it would not be found, and so be taken for gone."""
    netns.require()
    with netns.pair() as (near, far):

        def scan(*options):
            near.run(*"ip -6 neigh flush dev cable".split())
            command = [LABMON, "scan", "fd00:5::/64", "--dept", "1", *options]
            return near.run(*command, env=site.env).stderr

        for namespace, address in ((near, "fd00:5::1/64"), (far, "fd00:5::2/64")):
            namespace.run("ip", "-6", "address", "add", address, "dev", "cable", "nodad")
            namespace.settle()
        assert "2 new" in scan()
        far.firewall(
            "table ip6 deaf { chain in { type filter hook input priority 0; "
            "icmpv6 type echo-request drop; }; }"
        )
        assert "1 of fd00:5::/64 on cable answered" in scan("--queue-enabled")
        (site.folder / "password").write_text("none that anybody would ask for")
        site.environ["LABMON_COLLECT_PASSWORD_FILE"] = str(site.folder / "password")
        collected = near.run(LABMON, "collect", "--all", env=site.env, check=False)
        assert collected.returncode == 6, "nobody lets it in, but the inventory is kept"
        assert "2 of fd00:5::/64 on cable answered" in scan("--queue-enabled")


def test_scans_of_an_ipv6_network_never_overlap(lab):
    netns.require()
    with netns.pair() as (near, _):
        near.run(*"ip -6 address add fd00:5::1/64 dev cable nodad".split())
        slow = ("scan", "fd00:5::/112", "--dept", "1", "--rate", "50", "--dry-run")
        scan = near.start(LABMON, *slow, env=lab.env)
        deadline = time.monotonic() + 20
        while not list((lab.folder / "state").glob("scans/*.lock")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.2)
        for other in ("fd00:5::/64", "ff02::1%cable", "fd00:5::10"):
            done = near.run(*(LABMON, "scan", other, "--dept", "1", "--dry-run"), env=lab.env, check=False)
            assert done.returncode == 7
            assert "a scan of these addresses is running" in done.stderr
        near.run(LABMON, "scan", "10.77.0.1", "--dept", "1", "--dry-run", env=lab.env)
        scan.send_signal(signal.SIGINT)
        _, said = scan.communicate(timeout=20)
        assert scan.returncode == 130
        assert "interrupted: what was found by then is kept" in said
