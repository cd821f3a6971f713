"""The ICMP echo packets of one sweep (RFC 792; RFC 4443, section 4). No I/O.

All that is needed to judge an answer is in the question and comes back with it, so that no state is kept for
each address: a random token (only we know it), the number of the target, and the time of sending. Number and
time stand beside their complements. That adds nothing to a one's complement sum (RFC 1071), so every packet
of a sweep has the same checksum, and damage is noticed.
"""

import struct
from dataclasses import dataclass

ECHO_REPLY = 0
ECHO_REQUEST = 8
ECHO_REQUEST_6 = 128
ECHO_REPLY_6 = 129

_MESSAGE = struct.Struct("!BBHHH8sIIQQ")  # type, code, checksum, id, sequence, token, number, ~, time, ~

PROBLEM_6 = 4
_ERROR = bytes((PROBLEM_6, 2))  # parameter problem, unrecognized option (RFC 4443, section 3.4)

ODD_OPTION = bytes((0, 0, 0x80, 4, 0, 0, 0, 0))
"""A destination options header with an option that does not exist, of the kind for which a host that does not
know it must send an error, to a multicast too (RFC 8200, section 4.2)."""
_QUOTED = 8 + 40 + len(ODD_OPTION)  # the header of the error, then those of IPv6 and the options

_M32 = 0xFFFF_FFFF
_M64 = 0xFFFF_FFFF_FFFF_FFFF


def checksum(data: bytes) -> int:
    """RFC 1071, of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to one of our questions, as far as the packet alone shows."""

    number: int  #: of the target that was asked; the caller checks that it was the one that answered
    sent: int  #: nanoseconds since the epoch, by our clock; a host may change it


class Echo:
    """Writes the questions of a sweep and recognises the answers to them."""

    def __init__(self, identifier: int, token: bytes, *, ipv6: bool = False) -> None:
        """`token` is 8 random bytes; the replies carry the identifier.

        The checksum of ICMPv6 covers addresses too; the kernel writes it in place of ours.
        """
        self._request, self._reply = (ECHO_REQUEST_6, ECHO_REPLY_6) if ipv6 else (ECHO_REQUEST, ECHO_REPLY)
        self._identifier = identifier
        self._token = token
        self._sums: dict[int, int] = {}

    def question(self, round_: int, number: int, sent: int) -> bytes:
        """The packet, from the ICMP header on. The round is its sequence number, so that no two are equal."""
        known = self._sums.get(round_)
        if known is None:
            known = self._sums[round_] = checksum(self._pack(0, round_, 0, 0))
        return self._pack(known, round_, number, sent)

    def _pack(self, known: int, round_: int, number: int, sent: int) -> bytes:
        return _MESSAGE.pack(
            self._request, 0, known, self._identifier, round_,
            self._token, number, number ^ _M32, sent, sent ^ _M64,
        )  # fmt: skip

    def read(self, message: bytes) -> Reply | None:
        """The answer in an ICMP message, or None for anything else: truncated, damaged, forged, not ours."""
        return self._read(message, self._reply)

    def read_error(self, message: bytes) -> Reply | None:
        """The same from an error about the option before an IPv6 question, which quotes both."""
        if message[:2] != _ERROR:
            return None
        return self._read(message[_QUOTED:], self._request)

    def _read(self, message: bytes, expected: int) -> Reply | None:
        if len(message) < _MESSAGE.size:
            return None
        kind, code, _, identifier, _, token, number, not_number, sent, not_sent = _MESSAGE.unpack_from(
            message
        )
        if (kind, code, identifier, token) != (expected, 0, self._identifier, self._token):
            return None
        if number ^ _M32 != not_number or sent ^ _M64 != not_sent:
            return None
        return Reply(number, sent)


def strip_ip(packet: bytes) -> bytes:
    """The ICMP message in an IPv4 packet (RFC 791), as raw sockets deliver them; empty when there is none."""
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[9] != 1:
        return b""
    header = (packet[0] & 15) * 4
    return packet[header:] if header >= 20 else b""
