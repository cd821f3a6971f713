"""Questions for many names in one message, and what is told of them."""

import dns.message
import dns.reversename
import dns.rrset
from hypothesis import given
from hypothesis import strategies as st

from labmon.scan.names.mdns import AT_ONCE
from labmon.scan.names.ptr import questions, read_names

ADDRESSES = ["10.77.0.5", "fd00:5::5"]


def answer(*told, wire=None, identifier=7):
    message = dns.message.make_response(dns.message.from_wire(wire or questions(ADDRESSES, identifier)))
    for address, kind, value in told:
        name = dns.reversename.from_address(address) if address[0] in "1f" else address
        message.answer.append(dns.rrset.from_text(name, 10, "IN", kind, value))
    return message.to_wire()


def test_one_message_asks_for_all():
    asked = dns.message.from_wire(questions(ADDRESSES, 7))
    assert asked.id == 7
    assert asked.flags == 0  # nobody is to look elsewhere (RFC 6762, section 18.6)
    assert [str(dns.reversename.to_address(question.name)) for question in asked.question] == ADDRESSES


def test_the_largest_fits_into_a_packet():
    several = [
        f"2001:db8:1:2:{n * 2111:x}:{n * 777:x}:{n * 1999:x}:{n * 311:x}" for n in range(1, 1 + AT_ONCE)
    ]
    assert len(questions(several, 7)) < 1452  # what one link's addresses have in common is said once


def test_a_link_local_address_is_asked_about_without_its_zone():
    assert questions(["fe80::5%eth0"], 7) == questions(["fe80::5"], 7)


def test_what_is_told_is_told_of_addresses():
    told = read_names(
        answer(
            ("10.77.0.5", "PTR", "pc-5.local."),
            ("fd00:5::5", "PTR", "pc-6.local."),
            ("pc-5.local.", "PTR", "pc-9.local."),
            ("10.77.0.9", "A", "10.77.0.9"),
        )
    )
    assert (told.identifier, told.names) == (7, {"10.77.0.5": "pc-5.local", "fd00:5::5": "pc-6.local"})


def test_names_that_are_no_names_and_questions_are_nothing():
    assert read_names(answer(("10.77.0.5", "PTR", r"pc\027[31m.local."))).names == {}
    assert read_names(questions(ADDRESSES, 7)) is None


@given(st.binary(max_size=300))
def test_no_bytes_at_all_break_it(wire):
    told = read_names(wire)
    assert told is None or all("\x1b" not in name for name in told.names.values())


@given(st.data())
def test_nor_does_damage(data):
    wire = bytearray(answer(("10.77.0.5", "PTR", "pc-5.local.")))
    for _ in range(3):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    read_names(bytes(wire[: data.draw(st.integers(0, len(wire)))]))
