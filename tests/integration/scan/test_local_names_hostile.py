"""Hosts on this machine that flood the reader of names, and one that answers as it should."""

import socket
import struct
import threading
import time

import dns.message
import dns.rrset
import pytest

from labmon.scan.names import local_names, mdns
from labmon.scan.names.local_names import LocalNames


def slow_to_decode(identifier):
    """As many records as are let through, each with a long name."""
    name = b"".join(b"\x01" + bytes([97 + i % 26]) for i in range(126)) + b"\0"
    body = name + struct.pack("!HHIH", 12, 1, 10, 2) + struct.pack("!H", 0xC000 | 12)
    for count in range(1, 32):
        body += struct.pack("!HHHIHH", 0xC000 | (12 + 2 * count), 12, 1, 10, 2, 0xC000 | 14)
    return struct.pack("!6H", identifier, 0x8400, 0, 32, 0, 0) + body


class Host(threading.Thread):
    """Answers questions at its address with what `answers(question)` gives, until closed."""

    def __init__(self, address, port, answers):
        super().__init__(daemon=True)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((address, port))
        self._socket.settimeout(0.1)
        self._answers = answers
        self._ended = threading.Event()
        self.start()

    def run(self):
        while not self._ended.is_set():
            try:
                query, client = self._socket.recvfrom(4096)
            except TimeoutError:
                continue
            for wire in self._answers(query):
                self._socket.sendto(wire, client)
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._ended.set()
        self.join()


def named(query, name):
    asked = dns.message.from_wire(query)
    reply = dns.message.make_response(asked)
    reply.answer.append(dns.rrset.from_text(asked.question[0].name, 10, "IN", "PTR", name))
    return reply.to_wire()


@pytest.fixture
def ports(monkeypatch):
    """Ports that any account may bind, and that no daemon of this machine has."""
    monkeypatch.setattr(mdns, "PORT", 25353)
    monkeypatch.setattr(local_names, "NETBIOS_PORT", 20137)
    monkeypatch.setattr(local_names, "SILENCE", 2.0)  # these hosts are threads: they take longer
    return 25353, 20137


def names_of(addresses, limit=4.0):
    """{address: name} and the seconds of a processor that this took."""
    found, before = {}, time.process_time()
    with LocalNames() as names:
        until = time.monotonic() + limit
        for address in addresses:
            names.ask(address, until)
        while names.pending and time.monotonic() < until + 5:
            found |= dict(names.collect())
            names.wait(0.02)
    return found, time.process_time() - before


# findings B4
@pytest.mark.parametrize(
    "flood",
    [
        lambda query: [slow_to_decode(int.from_bytes(query[:2], "big"))] * 40,
        lambda query: [slow_to_decode(n) for n in range(2000)],
        lambda query: [query[:2] + bytes([0x84, 0]) + b"\xff" * 8 + bytes(1400)] * 2000,
        lambda query: [query[:2] + b"\x84\0\0\0\0\1" + bytes(8900)] * 100,
    ],
    ids=["its own question", "guessed questions", "counts that lie", "large"],
)
def test_one_host_that_floods_costs_little_and_hides_no_other(ports, flood):
    multicast, _ = ports
    with (
        Host("127.0.7.1", multicast, flood),
        Host("127.0.7.2", multicast, lambda query: [named(query, "lab-pc-02.local.")]),
    ):
        found, seconds = names_of(["127.0.7.1", "127.0.7.2"])
    assert found["127.0.7.2"] == "lab-pc-02.local"
    assert found["127.0.7.1"] is None
    assert seconds < 3


# findings B4
def test_a_netbios_flood_costs_little(ports):
    _, netbios = ports
    with Host("127.0.7.3", netbios, lambda query: [query[:2] + b"\x84\0" + bytes(3000)] * 3000):
        found, seconds = names_of(["127.0.7.3"])
    assert found == {"127.0.7.3": None}
    assert seconds < 3


# findings B5
@pytest.mark.parametrize("name", ["pc\x85.local.", "pc\u2028x.local.", "pc\u202eexe.local.", "=cmd().local."])
def test_a_name_that_a_terminal_or_a_table_would_obey_is_none(ports, name):
    multicast, _ = ports
    label = name.encode()

    def answer(query):
        good = named(query, "x" * (len(label) - 7) + ".local.")
        return [good.replace(b"x" * (len(label) - 7), label[: len(label) - 7])]

    with Host("127.0.7.4", multicast, answer):
        assert names_of(["127.0.7.4"])[0] == {"127.0.7.4": None}
