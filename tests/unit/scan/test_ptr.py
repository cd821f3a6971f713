"""Reverse DNS on the wire."""

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labmon.scan import ptr
from labmon.scan.ptr import Answer, question, read_answer

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
