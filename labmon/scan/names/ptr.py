"""Reverse DNS messages (RFC 1035, section 3.5), and the servers to ask. All of dnspython is here.

Messages come from any machine that can send to this one, and dnspython takes a second for a hostile one. So
callers look at `identifier_of` first, and what is too large is not decoded.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename

from labmon.scan.names.hostname import clean
from labmon.text import is_address

RESOLV_CONF = Path("/etc/resolv.conf")

MAX_BYTES = 4096
"""Of a message that is decoded. We ask in one packet, and an answer is hardly longer."""

MAX_RECORDS = 32
"""Questions, and records of each section, in a message that is decoded; in all twice as many."""

_HEADER = struct.Struct("!6H")  # identifier, flags, and the numbers of records in the four sections
_RESPONSE = 0x8000


def servers() -> list[str]:
    """The addresses in /etc/resolv.conf, if any; other text is ignored, as the C library does."""
    try:
        lines = RESOLV_CONF.read_text(errors="replace").splitlines()
    except OSError:
        return []
    named = [words[1] for line in lines if len(words := line.split()) > 1 and words[0] == "nameserver"]
    return list(filter(is_address, named))


def question(address: str, identifier: int) -> bytes:
    """The message that asks for an address's name."""
    name = dns.reversename.from_address(address)
    return dns.message.make_query(name, dns.rdatatype.PTR, id=identifier).to_wire()


def questions(addresses: Sequence[str], identifier: int) -> bytes:
    """One message that asks for several names, as multicast DNS may (RFC 6762, section 5.3)."""
    message = dns.message.Message(id=identifier)
    for address in addresses:
        name = dns.reversename.from_address(address.partition("%")[0])
        message.find_rrset(
            message.question, name, dns.rdataclass.IN, dns.rdatatype.PTR, create=True, force_unique=True
        )
    return message.to_wire()


def identifier_of(wire: bytes) -> int | None:
    """The identifier of an answer, without decoding it; None for what is no answer or is too large."""
    if not _HEADER.size <= len(wire) <= MAX_BYTES:
        return None
    identifier, flags, *counts = _HEADER.unpack_from(wire)
    if not flags & _RESPONSE or max(counts) > MAX_RECORDS or sum(counts) > 2 * MAX_RECORDS:
        return None
    return int(identifier)


@dataclass(frozen=True, slots=True)
class NamesFound:
    """The names in a message, whatever was asked."""

    identifier: int
    names: dict[str, str]  #: by address


def read_names(wire: bytes) -> NamesFound | None:
    """The names in an answer of multicast DNS, or None for anything else."""
    message = _decoded(wire)
    if message is None:
        return None
    names: dict[str, str] = {}
    for records in message.answer:
        if records.rdtype == dns.rdatatype.PTR and (address := _address_of(records.name)):
            found = sorted(filter(None, (_name(record.target.labels) for record in records)))
            if found:
                names.setdefault(address, found[0])
    return NamesFound(message.id, names)


@dataclass(frozen=True, slots=True)
class Answer:
    """A DNS message that answers one of our questions."""

    identifier: int
    address: str  #: that was asked for
    name: str | None
    try_another: bool  #: the server could not or would not look it up


def read_answer(wire: bytes) -> Answer | None:
    """The answer in a DNS message (RFC 1035), or None for anything else.

    Of several names the first in the alphabet, since servers rotate them. Which owner the PTR record has
    does not matter: in delegations smaller than /24 it is an alias of what was asked (RFC 2317).
    """
    message = _decoded(wire)
    if message is None or len(message.question) != 1:
        return None
    asked = message.question[0]
    address = _address_of(asked.name) if asked.rdtype == dns.rdatatype.PTR else None
    if address is None:
        return None
    targets = [
        record.target.labels
        for records in message.answer
        if records.rdtype == dns.rdatatype.PTR
        for record in records
    ]
    names = sorted(filter(None, map(_name, targets)))
    refused = message.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN)
    return Answer(message.id, address, names[0] if names else None, refused)


def _decoded(wire: bytes) -> dns.message.Message | None:
    if identifier_of(wire) is None:
        return None
    try:
        return dns.message.from_wire(wire, ignore_trailing=True)
    except Exception:  # a foreign decoder of foreign bytes: none of its errors may end a scan
        return None


def _address_of(name: dns.name.Name) -> str | None:
    """The address that a name of the reverse zones stands for."""
    try:
        return dns.reversename.to_address(name)
    except Exception:  # as above
        return None


def _name(labels: Sequence[bytes]) -> str | None:
    try:
        return clean(b".".join(labels).decode())
    except UnicodeDecodeError:
        return None
