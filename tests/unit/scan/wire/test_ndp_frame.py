"""Neighbour solicitations and advertisements on the wire, compared with scapy's."""

from ipaddress import ip_address

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import Ether

from labmon.scan.wire.ndp_frame import NdpFrames

OURS, MAC = "fd00:5::1", "02:00:00:00:00:01"
HOST, HOST_MAC = "fd00:5::ab:cdef", "f0:de:f1:00:00:05"
FRAMES = NdpFrames(MAC, OURS, "eth0")


def advertisement(*, ether=None, ip=None, option=True, mac=HOST_MAC, **fields):
    packet = (
        Ether(**{"src": HOST_MAC, "dst": MAC, **(ether or {})})
        / IPv6(**{"src": HOST, "dst": OURS, "hlim": 255, **(ip or {})})
        / ICMPv6ND_NA(**{"R": 0, "S": 1, "O": 1, "tgt": HOST, **fields})
    )
    return bytes(packet / ICMPv6NDOptDstLLAddr(lladdr=mac)) if option else bytes(packet)


@pytest.mark.parametrize("address", [HOST, "fd00:5::", "2001:db8:1:2:ffff:ffff:ffff:ffff"])
def test_the_question_is_the_one_that_scapy_builds(address):
    tail = ip_address(address).packed[13:]
    group = f"ff02::1:ff{tail[0]:02x}:{tail[1]:02x}{tail[2]:02x}"
    expected = (
        Ether(src=MAC, dst=f"33:33:ff:{tail[0]:02x}:{tail[1]:02x}:{tail[2]:02x}")
        / IPv6(src=OURS, dst=group, hlim=255)
        / ICMPv6ND_NS(tgt=address)
        / ICMPv6NDOptSrcLLAddr(lladdr=MAC)
    )
    assert FRAMES.question(address) == bytes(expected)


def test_an_answer_tells_the_address_and_the_mac():
    assert FRAMES.read(advertisement()) == (HOST, HOST_MAC)
    assert FRAMES.read(advertisement() + b"padding") == (HOST, HOST_MAC)
    assert FRAMES.read(advertisement(option=False)) == (HOST, HOST_MAC)
    assert FRAMES.read(advertisement(mac="00:1b:21:00:00:07")) == (HOST, "00:1b:21:00:00:07")


def test_a_link_local_address_comes_with_its_link():
    frames = NdpFrames(MAC, "fe80::1%eth0", "eth0")
    frame = advertisement(ip={"dst": "fe80::1"}, tgt="fe80::5")
    assert frames.read(frame) == ("fe80::5%eth0", HOST_MAC)
    assert frames.question("fe80::5%eth0") == frames.question("fe80::5")


def test_what_a_proxy_answers_is_alive_but_its_mac_is_not_known():
    assert FRAMES.read(advertisement(O=0)) == (HOST, None)


@pytest.mark.parametrize(
    "frame",
    [
        advertisement(ether={"dst": "02:00:00:00:00:09"}),  # to somebody else
        advertisement(ip={"dst": "fd00:5::9"}),
        advertisement(ip={"hlim": 254}),  # through a router
        advertisement(S=0),  # nobody asked
        advertisement(tgt="ff02::1"),
        advertisement(mac="01:00:5e:00:00:01"),  # a group
        advertisement(mac="00:00:00:00:00:00"),
        advertisement(code=1),
        advertisement(cksum=1),
        advertisement()[:-3],
        advertisement()[:60],
        advertisement(ip={"plen": 20}),
        advertisement(ip={"plen": 500}),
        advertisement(ether={"type": 0x0800}),
        FRAMES.question(HOST),
        bytes(Ether(src=HOST_MAC, dst=MAC) / IPv6(src=HOST, dst=OURS, hlim=255) / ICMPv6EchoReply()),
    ],
)
def test_anything_else_is_ignored(frame):
    assert FRAMES.read(frame) is None


@given(st.binary(max_size=200))
@example(b"")
def test_no_bytes_at_all_break_it(frame):
    assert FRAMES.read(frame) is None


@given(st.data())
def test_a_damaged_answer_is_never_taken_for_another(data):
    """The checksum is the only thing that says so; two errors may cancel out, one may not."""
    frame = bytearray(advertisement())
    place = data.draw(st.integers(14, len(frame) - 1))
    frame[place] ^= data.draw(st.integers(1, 255))
    told = FRAMES.read(bytes(frame))
    # Traffic class and flow label are nobody's business.
    assert told is None if place >= 18 else told in (None, (HOST, HOST_MAC))


@given(st.binary(max_size=40))
def test_options_of_any_kind_do_no_harm(options):
    packet = IPv6(src=HOST, dst=OURS, hlim=255) / ICMPv6ND_NA(R=0, S=1, O=1, tgt=HOST)
    told = FRAMES.read(bytes(Ether(src=HOST_MAC, dst=MAC) / packet / options))
    assert told is None or told[0] == HOST
