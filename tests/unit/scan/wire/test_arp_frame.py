"""The fast reader of ARP says what scapy says, and nothing forged gets past it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.l2 import ARP, Ether

from labmon.scan.wire.arp_frame import ArpFrames

OURS, OUR_ADDRESS = "00:1b:21:aa:bb:cc", "10.30.5.1"
THEIRS, THEIR_ADDRESS = "f0:de:f1:00:00:01", "10.30.5.77"
FRAMES = ArpFrames(OURS, OUR_ADDRESS)


def answer(*, ether=None, **arp):
    fields = {"op": "is-at", "hwsrc": THEIRS, "psrc": THEIR_ADDRESS, "hwdst": OURS, "pdst": OUR_ADDRESS}
    return bytes(Ether(**{"src": THEIRS, "dst": OURS, **(ether or {})}) / ARP(**{**fields, **arp}))


def test_the_question_is_what_scapy_would_send():
    frame = Ether(FRAMES.question("10.30.5.77"))
    assert (frame.src, frame.dst, frame.type) == (OURS, "ff:ff:ff:ff:ff:ff", 0x0806)
    arp = frame[ARP]
    assert (arp.op, arp.hwsrc, arp.psrc, arp.hwdst, arp.pdst) == (
        *(1, OURS, OUR_ADDRESS),
        *("00:00:00:00:00:00", "10.30.5.77"),
    )
    assert len(FRAMES.question("10.30.5.77")) == 42


def test_an_answer_with_or_without_padding():
    assert FRAMES.read(answer()) == (THEIR_ADDRESS, THEIRS)
    assert FRAMES.read(answer() + bytes(18)) == (THEIR_ADDRESS, THEIRS)


@pytest.mark.parametrize(
    "frame",
    [
        answer(op="who-has"),
        answer(hwdst=THEIRS),
        answer(pdst="10.30.5.2"),
        answer(ether={"dst": "ff:ff:ff:ff:ff:ff"}),
        answer(ether={"type": 0x0800}),
        answer(hwtype=6),
        answer(ptype=0x86DD),
        answer(hwlen=8),
        answer(plen=16),
        answer(hwsrc="00:00:00:00:00:00"),
        answer(hwsrc="01:00:5e:00:00:01"),
        answer()[:41],
        b"",
    ],
    ids=lambda frame: frame.hex()[:8] or "nothing",
)
def test_anything_else_is_no_answer(frame):
    assert FRAMES.read(frame) is None


@given(st.binary(max_size=80))
def test_rubbish_is_read_without_harm(data):
    assert FRAMES.read(data) is None


macs = st.binary(min_size=6, max_size=6).map(lambda mac: mac.hex(":"))
addresses = st.binary(min_size=4, max_size=4).map(lambda a: ".".join(map(str, a)))


@given(macs, addresses, st.sampled_from([1, 2, 3]), st.sampled_from([OURS, THEIRS]))
def test_it_reads_what_scapy_reads(mac, address, operation, to):
    frame = answer(hwsrc=mac, psrc=address, op=operation, hwdst=to)
    told = Ether(frame)[ARP]
    group = int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00"
    good = told.op == 2 and told.hwdst == OURS and not group
    assert FRAMES.read(frame) == ((told.psrc, told.hwsrc) if good else None)


@given(st.integers(0, 41), st.integers(1, 255))
def test_a_damaged_answer_never_has_another_meaning_than_scapy_gives_it(at, change):
    frame = bytearray(answer())
    frame[at] ^= change
    read = FRAMES.read(bytes(frame))
    if read is not None:
        told = Ether(bytes(frame))[ARP]
        assert read == (told.psrc, told.hwsrc)
