"""Names, from a DNS server of our own."""

import json
import socket
import sys
import time
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from labmon.scan.names.ptr import question
from labmon.scan.names.resolve import Names
from tests.integration.scan.dns_server import DnsServer
from tests.support import netns
from tests.support.clock import clock

SERVER = Path(__file__).with_name("dns_server.py")


def look_up(names, *addresses, patience=10.0):
    """All the names, and how long that took."""
    began = clock()
    for address in addresses:
        names.ask(address)
    found = {}
    while names.pending:
        assert clock() - began < patience
        names.wait(0.1)
        for address, name in names.collect():
            assert address not in found
            found[address] = name
    return found, clock() - began


@pytest.fixture
def server():
    servers = []

    def start(**options):
        server = DnsServer(**options)
        servers.append(server)
        return server.__enter__()

    yield start
    for one in servers:
        one.__exit__()


TABLE = {f"10.30.{n >> 8}.{n & 255}": [f"lab-pc-{n}.example.edu."] for n in range(1, 2001)}


def test_two_thousand_names_at_once(server):
    good = server(names=TABLE)
    with Names(10, [good.address], {}) as names:
        found, seconds = look_up(names, *TABLE, "10.31.0.1")
    assert found == {address: name[0].rstrip(".") for address, name in TABLE.items()} | {"10.31.0.1": None}
    assert seconds < 10
    assert not names.silent


def test_etc_hosts_goes_before_the_server(server):
    good = server(names={"10.30.0.1": ["other.example.edu."]})
    with Names(3, [good.address], {"10.30.0.1": "lab-pc-1"}) as names:
        assert look_up(names, "10.30.0.1")[0] == {"10.30.0.1": "lab-pc-1"}
    assert not good.asked


def test_no_server_is_asked_about_loopback_and_link_local_addresses(server):
    good = server(names={"127.0.0.2": ["leak."], "169.254.1.1": ["leak."]})
    with Names(3, [good.address], {"127.0.0.1": "localhost"}) as names:
        found, seconds = look_up(names, "127.0.0.1", "127.0.0.2", "169.254.1.1")
    assert found == {"127.0.0.1": "localhost", "127.0.0.2": None, "169.254.1.1": None}
    assert seconds < 0.5
    assert not good.asked


def test_a_lost_query_is_sent_once_more(server):
    good = server(names=TABLE, lose=1)
    with Names(0.9, [good.address], {}) as names:
        found, seconds = look_up(names, "10.30.0.1", "10.30.0.2")
    assert set(found.values()) == {"lab-pc-1.example.edu", "lab-pc-2.example.edu"}
    assert seconds < 0.9
    assert set(good.asked.values()) == {2}


def test_the_second_try_goes_to_the_second_server(server):
    dead, good = server(mute=True), server(names=TABLE)
    with Names(0.9, [dead.address, good.address], {}) as names:
        assert look_up(names, "10.30.0.1")[0] == {"10.30.0.1": "lab-pc-1.example.edu"}


def test_a_server_that_will_not_look_is_passed_over(server):
    refusing, good = server(rcode=dns.rcode.REFUSED), server(names=TABLE)
    with Names(3, [refusing.address, good.address], {}) as names:
        found, seconds = look_up(names, *list(TABLE)[:300])
    assert None not in found.values()
    assert seconds < 2


def test_a_dead_server_costs_the_limit_and_no_more(server, stalled):
    dead = server(mute=True)
    with Names(0.5, [dead.address], {}) as names:
        found, seconds = look_up(names, *TABLE)
        assert found == dict.fromkeys(TABLE)
        assert 0.4 - stalled() < seconds < 0.8
        assert names.silent
        assert max(dead.asked.values()) == 2
        # What comes later is not asked about at all.
        assert look_up(names, "10.31.0.1")[1] < 0.1
        assert "10.31.0.1" not in dead.asked


def test_a_server_that_dies_half_way_costs_the_limit_and_no_more(server, stalled):
    good = server(names=TABLE)
    with Names(0.5, [good.address], {}) as names:
        look_up(names, "10.30.0.1")
        good._mute = True
        found, seconds = look_up(names, *TABLE)
    assert found == dict.fromkeys(TABLE)
    assert 0.4 - stalled() < seconds < 0.8
    assert not names.silent


def test_where_nothing_listens_is_known_at_once():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        address = sock.getsockname()
    with Names(5, [address], {}) as names:
        found, seconds = look_up(names, *list(TABLE)[:500])
    assert set(found.values()) == {None}
    assert seconds < 1
    assert names.silent


def test_another_server_takes_over_from_one_that_is_gone(server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        gone = sock.getsockname()
    good = server(names=TABLE)
    with Names(3, [gone, good.address], {}) as names:
        found, _ = look_up(names, *list(TABLE)[:500])
    assert len(found) == 500
    assert None not in found.values()
    assert not names.silent


def test_a_late_answer_still_counts(server):
    slow = server(names=TABLE, delay=0.7)
    with Names(1, [slow.address], {}) as names:
        assert look_up(names, "10.30.0.1")[0] == {"10.30.0.1": "lab-pc-1.example.edu"}


def test_servers_that_go_away_while_they_are_asked():
    """The system tells at the next sending, here when the first questions are repeated."""

    class Gone:
        def __init__(self, patience):
            self.patience = patience

        def send(self, wire):
            self.patience -= 1
            if self.patience < 0:
                raise ConnectionRefusedError

        def recv(self, size):
            raise BlockingIOError

        def close(self):
            pass

    with Names(0.3, [], {}) as names:
        names._sockets = [Gone(20), Gone(0)]
        addresses = [f"10.30.0.{n}" for n in range(1, 21)]
        for address in addresses:
            names.ask(address)
        found = names.collect()
        while names.pending:
            time.sleep(0.01)
            found += names.collect()
        assert sorted(found) == sorted((address, None) for address in addresses)
        assert names.silent


def test_without_any_server_only_etc_hosts_speaks():
    with Names(5, [], {"10.30.0.1": "pc"}) as names:
        found, seconds = look_up(names, "10.30.0.1", "10.30.0.2")
    assert found == {"10.30.0.1": "pc", "10.30.0.2": None}
    assert seconds < 0.1


def test_a_forged_answer_is_ignored():
    class Liar(DnsServer):
        def send(self, query, address, client):
            self._names = {address: ["forged."]}
            query.id ^= 1
            self._socket.sendto(self.answer(query, address), client)
            query.id ^= 1
            other = dns.message.from_wire(question("10.30.0.9", query.id))
            self._names["10.30.0.9"] = ["forged."]
            self._socket.sendto(self.answer(other, "10.30.0.9"), client)
            self._socket.sendto(b"rubbish", client)
            self._names = {address: ["true."]}
            super().send(query, address, client)

    with Liar() as liar, Names(3, [liar.address], {}) as names:
        assert look_up(names, "10.30.0.1")[0] == {"10.30.0.1": "true"}


ON_LINK = {f"10.77.0.{n}": [f"lab-pc-{n}.example.edu."] for n in range(10, 20)}


@pytest.fixture
def live(near, far):
    far.add_addresses(ON_LINK, "cable")
    near.write_etc("resolv.conf", f"nameserver {netns.FAR}\n")
    near.write_etc("hosts", "127.0.0.1 localhost\n10.77.0.19 from-etc-hosts\n")


def serve(far, **options):
    process = far.start(sys.executable, str(SERVER), json.dumps({"at": netns.FAR, **options}))
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def test_a_sweep_gives_each_host_once_with_its_name(sweep, far, live):
    process = serve(far, names=ON_LINK)
    outcome = sweep("10.77.0.0/24", "127.0.0.1-2", method="ping")
    names = {address: host["hostname"] for address, host in outcome.hosts.items()}
    assert names == {
        **{address: name[0].rstrip(".") for address, name in ON_LINK.items()},
        "10.77.0.19": "from-etc-hosts",
        netns.NEAR: None,
        netns.FAR: None,
        "127.0.0.1": "localhost",
        "127.0.0.2": None,
    }
    process.kill()
    asked = process.stdout.read().split()
    assert set(asked) == {netns.NEAR, netns.FAR, *ON_LINK} - {"10.77.0.19"}
    assert len(asked) == len(set(asked))


def test_a_dead_server_delays_a_sweep_by_no_more_than_the_limit(sweep, far, live):
    serve(far, mute=True)
    quick = sweep("10.77.0.0/24", method="ping", timeout=0.3, names=False)
    outcome = sweep("10.77.0.0/24", method="ping", timeout=0.3, name_timeout=1)
    assert len(outcome.hosts) == 12
    assert outcome.seconds < quick.seconds + 1.2
    assert outcome.notes == ["The DNS servers in /etc/resolv.conf did not answer, so names are missing."]


def test_a_stop_does_not_wait_for_names(sweep, far, live):
    serve(far, mute=True)
    waits = {"phase": "names"}
    outcome = sweep("10.77.0.0/24", method="ping", timeout=0.1, name_timeout=20, stop_at=waits)
    assert len(outcome.hosts) == 12
    assert 0 <= outcome.stopping < 0.3
