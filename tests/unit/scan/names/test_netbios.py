"""NetBIOS as scapy writes it, and forged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.netbios import (
    NBNSHeader,
    NBNSNodeStatusRequest,
    NBNSNodeStatusResponse,
    NBNSNodeStatusResponseService,
)

from labmon.scan.names.netbios import question, read_answer


def entry(name, suffix=0, flags=0x04):
    return NBNSNodeStatusResponseService(NETBIOS_NAME=name, SUFFIX=suffix, NAME_FLAGS=flags)


def answer(*entries, identifier=0x1234):
    return bytes(
        NBNSHeader(NAME_TRN_ID=identifier, RESPONSE=1) / NBNSNodeStatusResponse(NODE_NAME=list(entries))
    )


def test_the_question_is_scapys():
    assert question(0x1234) == bytes(NBNSHeader(NAME_TRN_ID=0x1234, NM_FLAGS=0) / NBNSNodeStatusRequest())


def test_the_name_of_the_workstation():
    wire = answer(entry(b"LABS", flags=0x84), entry(b"LAB-PC-01", 0x20), entry(b"LAB-PC-01"))
    assert read_answer(wire) == (0x1234, "LAB-PC-01")


@pytest.mark.parametrize("name", [b"A B", b"\xc4PC", b"\x1b[31m", b""])
def test_names_that_cannot_be_shown_are_none(name):
    assert read_answer(answer(entry(name))) == (0x1234, None)


def test_our_own_question_is_no_answer():
    assert read_answer(question(7)) is None


@given(st.integers(0, 120))
def test_truncated(length):
    wire = answer(entry(b"LAB-PC-01"), entry(b"LABS", flags=0x84))
    assert read_answer(wire[:length]) in (None, (0x1234, "LAB-PC-01"))


@given(st.binary(max_size=200))
def test_rubbish(data):
    read_answer(data)
