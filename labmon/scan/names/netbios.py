"""NetBIOS node status messages (RFC 1002, section 4.2.17): the name of a Windows PC. No I/O."""

import struct

from labmon.scan.names.hostname import clean

_HEADER = struct.Struct("!6H")  # identifier, flags, questions, answers, authorities, additionals
_ASKED_NAME = b"\x20" + b"CK" + b"A" * 30 + b"\x00"  # "*", which every node answers
_NBSTAT_IN = b"\x00\x21\x00\x01"
_RESPONSE = 0x8000
_GROUP = 0x8000
_WORKSTATION = 0x00
_ENTRY = struct.Struct("!15sBH")


def question(identifier: int) -> bytes:
    """The message that asks a node for its names."""
    return _HEADER.pack(identifier, 0, 1, 0, 0, 0) + _ASKED_NAME + _NBSTAT_IN


def read_answer(wire: bytes) -> tuple[int, str | None] | None:
    """(identifier, name) from a node's answer; None for anything else, truncated ones included."""
    beginning = _HEADER.size + len(_ASKED_NAME)
    if len(wire) < beginning + 11:  # type, class, time to live, length, number of names
        return None
    identifier, flags, questions, answers, _, _ = _HEADER.unpack_from(wire)
    if not flags & _RESPONSE or questions or answers != 1:
        return None
    if wire[beginning : beginning + 4] != _NBSTAT_IN:
        return None
    count, at = wire[beginning + 10], beginning + 11
    if len(wire) < at + count * _ENTRY.size:
        return None
    for name, suffix, what in _ENTRY.iter_unpack(wire[at : at + count * _ENTRY.size]):
        if suffix == _WORKSTATION and not what & _GROUP:
            return identifier, _text(name)
    return identifier, None


def _text(name: bytes) -> str | None:
    """Only ASCII: other characters are in the code page of that PC, which the message does not name."""
    try:
        return clean(name.rstrip(b" \0").decode("ascii"))
    except UnicodeDecodeError:
        return None
