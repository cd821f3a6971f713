"""IPv6 neighbour solicitations and their answers on Ethernet (RFC 4861, sections 4.3 and 4.4). No I/O."""

import socket
import struct

from labmon.scan.kernel.ipv6 import with_zone
from labmon.scan.wire.echo import checksum

_ETHERNET = struct.Struct("!6s6sH")
_IP = struct.Struct("!IHBB16s16s")  # version and more, length, next header, hop limit, source, destination
_ICMP = struct.Struct("!BBHI16s")  # type, code, checksum, flags, target
_BEFORE_ICMP = _ETHERNET.size + _IP.size
_OPTIONS = _BEFORE_ICMP + _ICMP.size

_TYPE = 0x86DD
_VERSION = 6 << 28
_ICMPV6 = 58
_SOLICITATION, _ADVERTISEMENT = 135, 136
_HOPS = 255  # each router takes one, so it comes from this link
_SOLICITED, _OVERRIDE = 0x4000_0000, 0x2000_0000
_SOURCE_MAC, _TARGET_MAC = 1, 2  # options, eight bytes each
_GROUP = 0x01  # in the first octet: a multicast address, which no single machine has

ONLY_ADVERTISEMENTS = (  # classic BPF: (instruction, jump if so, jump if not, operand)
    (0x30, 0, 0, _ETHERNET.size + 6),  # next header
    (0x15, 0, 3, _ICMPV6),
    (0x30, 0, 0, _BEFORE_ICMP),  # type
    (0x15, 0, 1, _ADVERTISEMENT),
    (0x06, 0, 0, 0xFFFF),  # take it
    (0x06, 0, 0, 0),  # drop it
)


class NdpFrames:
    """Writes the questions of one interface, and reads the answers."""

    def __init__(self, mac: str, address: str, device: str) -> None:
        """`mac` and `address` are this machine's on that link: answers go to them."""
        self._device = device
        self._mac = bytes.fromhex(mac.replace(":", ""))
        self._address = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])

    def question(self, address: str) -> bytes:
        """The frame that asks which MAC has this address, to the group that only its owner listens to."""
        target = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
        group = bytes.fromhex("ff0200000000000000000001ff") + target[13:]
        option = bytes((_SOURCE_MAC, 1)) + self._mac
        message = _ICMP.pack(_SOLICITATION, 0, 0, 0, target) + option
        summed = checksum(_pseudo(self._address, group, len(message)) + message)
        return (
            _ETHERNET.pack(b"\x33\x33" + group[12:], self._mac, _TYPE)
            + _IP.pack(_VERSION, len(message), _ICMPV6, _HOPS, self._address, group)
            + _ICMP.pack(_SOLICITATION, 0, summed, 0, target)
            + option
        )

    def read(self, frame: bytes) -> tuple[str, str | None] | None:
        """(address, MAC) from an answer to us; None for any other frame: truncated, forged, for others.

        The MAC is None when a proxy answers for the address (RFC 4861, section 7.2.8): it is the proxy's.
        """
        if len(frame) < _OPTIONS:
            return None
        to, sender, kind = _ETHERNET.unpack_from(frame)
        version, length, following, hops, source, destination = _IP.unpack_from(frame, _ETHERNET.size)
        if (kind, version >> 28, following, hops) != (_TYPE, 6, _ICMPV6, _HOPS):
            return None
        if (to, destination) != (self._mac, self._address) or length < _ICMP.size:
            return None
        message = frame[_BEFORE_ICMP : _BEFORE_ICMP + length]
        if len(message) < length or checksum(_padded(_pseudo(source, destination, length) + message)):
            return None
        what, code, _, flags, target = _ICMP.unpack_from(message)
        if (what, code) != (_ADVERTISEMENT, 0) or not flags & _SOLICITED or target[0] == 0xFF:
            return None
        options = _read_options(message[_ICMP.size :])
        if options is None:
            return None
        mac = options.get(_TARGET_MAC, sender)[:6]
        if mac[0] & _GROUP or not any(mac):
            return None
        address = with_zone(socket.inet_ntop(socket.AF_INET6, target), self._device)
        return address, mac.hex(":") if flags & _OVERRIDE else None


def _pseudo(source: bytes, destination: bytes, length: int) -> bytes:
    """The pseudo-header that the checksum covers (RFC 8200, section 8.1)."""
    return source + destination + struct.pack("!II", length, _ICMPV6)


def _padded(data: bytes) -> bytes:
    return data + b"\0" if len(data) % 2 else data


def _read_options(data: bytes) -> dict[int, bytes] | None:
    """By their numbers, the first of each; None when one has no length or is cut off."""
    found: dict[int, bytes] = {}
    while data:
        if len(data) < 8 or not data[1] or data[1] * 8 > len(data):
            return None
        found.setdefault(data[0], data[2 : data[1] * 8])
        data = data[data[1] * 8 :]
    return found
