"""Reverse DNS on the wire."""

import struct
import time

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labmon.scan.names import ptr
from labmon.scan.names.ptr import Answer, identifier_of, question, read_answer, read_names

OWNER = "10.5.30.10.in-addr.arpa."


def answer(*records, rcode=dns.rcode.NOERROR, identifier=77):
    reply = dns.message.make_response(dns.message.from_wire(question("10.30.5.10", identifier)))
    reply.set_rcode(rcode)
    for owner, kind, *data in records:
        reply.answer.append(dns.rrset.from_text(owner, 60, "IN", kind, *data))
    return reply.to_wire()


def test_servers_are_those_lines_of_the_file_that_name_one(tmp_path, monkeypatch):
    monkeypatch.setattr(ptr, "RESOLV_CONF", tmp_path / "resolv.conf")
    assert ptr.servers() == []
    text = b"# nameserver 10.0.0.9\nsearch a.b\nnameserver\nnameserver dns.example.edu\n\xff\0\n"
    ptr.RESOLV_CONF.write_bytes(text + b"nameserver 10.0.0.1 # first\n\tnameserver fe80::1%eth0\n")
    assert ptr.servers() == ["10.0.0.1", "fe80::1%eth0"]


def test_a_name():
    wire = answer((OWNER, "PTR", "lab-pc-01.example.edu."))
    assert read_answer(wire) == Answer(77, "10.30.5.10", "lab-pc-01.example.edu", False)


def test_the_first_of_several_names_by_the_alphabet():
    for names in (["b.edu.", "a.edu."], ["a.edu.", "b.edu."]):
        assert read_answer(answer((OWNER, "PTR", *names))).name == "a.edu"


def test_a_name_behind_an_alias():
    wire = answer(
        (OWNER, "CNAME", "10.0-63.5.30.10.in-addr.arpa."), ("10.0-63.5.30.10.in-addr.arpa.", "PTR", "pc.edu.")
    )
    assert read_answer(wire).name == "pc.edu"


@pytest.mark.parametrize(
    ("rcode", "try_another"),
    [
        (dns.rcode.NOERROR, False),
        (dns.rcode.NXDOMAIN, False),
        (dns.rcode.SERVFAIL, True),
        (dns.rcode.REFUSED, True),
    ],
)
def test_no_name(rcode, try_another):
    assert read_answer(answer(rcode=rcode)) == Answer(77, "10.30.5.10", None, try_another)


@pytest.mark.parametrize("name", [r"pc\027[31m.edu.", r"\000.edu.", r"pc\200.edu.", r"a\032b."])
def test_a_name_that_cannot_be_shown_is_none(name):
    assert read_answer(answer((OWNER, "PTR", name))).name is None


def test_an_unusable_name_does_not_hide_a_good_one():
    assert read_answer(answer((OWNER, "PTR", r"a\007.", "b.edu."))).name == "b.edu"


def test_utf8_in_a_label_is_read():
    assert read_answer(answer((OWNER, "PTR", r"b\195\188ro.edu."))).name == "büro.edu"


def test_a_question_is_no_answer():
    assert read_answer(question("10.30.5.10", 77)) is None


def test_an_answer_about_something_else_is_none():
    query = dns.message.make_query("example.edu.", "A")
    assert read_answer(dns.message.make_response(query).to_wire()) is None
    query = dns.message.make_query("example.edu.", "PTR")
    assert read_answer(dns.message.make_response(query).to_wire()) is None


@given(st.binary(max_size=200))
def test_no_bytes_at_all_break_the_reader(wire):
    read_answer(wire)


@given(st.data())
def test_no_damage_breaks_the_reader(data):
    wire = bytearray(answer((OWNER, "PTR", "lab-pc-01.example.edu."), (OWNER, "PTR", "x.edu.")))
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    read_answer(bytes(wire[: data.draw(st.integers(0, len(wire)))]))


def hostile(size, records):
    """Names of a letter a label, each record pointing into the middle of the longest one."""
    name = b"".join(b"\x01" + bytes([97 + i % 26]) for i in range(126)) + b"\0"
    body = name + struct.pack("!HHIH", 12, 1, 10, 2) + struct.pack("!H", 0xC000 | 12)
    count = 1
    while len(body) + 28 <= size and count < records:
        place, target = 12 + 2 * (count % 100), 12 + 2 * (count * 7 % 100)
        body += struct.pack("!HHHIHH", 0xC000 | place, 12, 1, 10, 2, 0xC000 | target)
        count += 1
    return struct.pack("!6H", 7, 0x8400, 0, count, 0, 0) + body


# findings B4
@pytest.mark.parametrize("read", [read_answer, read_names, identifier_of])
@pytest.mark.parametrize("wire", [hostile(9000, 10_000), hostile(4000, 300), hostile(1400, 80)])
def test_a_message_that_costs_much_is_dropped_before_it_is_decoded(read, wire):
    before = time.process_time()
    for _ in range(1000):
        assert read(wire) is None
    assert time.process_time() - before < 0.5


# findings B4
def test_counts_that_lie_cost_nothing():
    for section in range(4):
        counts = [0, 0, 0, 0]
        counts[section] = 65535
        assert identifier_of(struct.pack("!6H", 7, 0x8400, *counts) + bytes(100)) is None


# findings B4
@given(st.binary(min_size=12, max_size=300))
def test_any_error_of_the_decoder_is_no_answer(rest):
    wire = struct.pack("!6H", 7, 0x8400, 1, 2, 1, 0) + rest
    read_answer(wire)
    read_names(wire)


@pytest.mark.parametrize("wire", [b"", bytes(11), question("10.30.5.10", 77)])
def test_what_is_no_answer_has_no_identifier(wire):
    assert identifier_of(wire) is None


def test_an_answer_is_known_by_its_identifier():
    assert identifier_of(answer()) == 77
