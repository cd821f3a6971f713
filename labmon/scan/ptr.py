"""Reverse DNS on the wire (RFC 1035, section 3.5), and whom to ask. All of dnspython is here."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename

from labmon.scan.hostname import clean

RESOLV_CONF = Path("/etc/resolv.conf")


def servers() -> list[str]:
    """The addresses in /etc/resolv.conf, if any; what is none is passed over, as the C library does."""
    try:
        lines = RESOLV_CONF.read_text(errors="replace").splitlines()
    except OSError:
        return []
    named = [words[1] for line in lines if len(words := line.split()) > 1 and words[0] == "nameserver"]
    return list(filter(_is_address, named))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


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


@dataclass(frozen=True, slots=True)
class Told:
    """What a message says of addresses, whatever was asked."""

    identifier: int
    names: dict[str, str]  #: by address


def read_names(wire: bytes) -> Told | None:
    """The names in an answer of multicast DNS, or None for anything else."""
    try:
        message = dns.message.from_wire(wire, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError):
        return None
    if not message.flags & dns.flags.QR:
        return None
    names: dict[str, str] = {}
    for records in message.answer:
        try:
            address = dns.reversename.to_address(records.name)
        except (dns.exception.DNSException, ValueError):
            continue  # not the name of an address
        if records.rdtype == dns.rdatatype.PTR:
            told = sorted(filter(None, (_name(record.target.labels) for record in records)))
            if told:
                names.setdefault(address, told[0])
    return Told(message.id, names)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a DNS message says to one of our questions."""

    identifier: int
    address: str  #: that was asked about
    name: str | None
    try_another: bool  #: the server could not or would not look


def read_answer(wire: bytes) -> Answer | None:
    """The answer in a DNS message (RFC 1035), or None for anything else.

    Of several names the first in the alphabet, since servers rotate them. Which owner the PTR record has
    does not matter: in delegations smaller than /24 it is an alias of what was asked (RFC 2317).
    """
    try:
        message = dns.message.from_wire(wire, ignore_trailing=True)
        if not message.flags & dns.flags.QR or len(message.question) != 1:
            return None
        asked = message.question[0]
        if asked.rdtype != dns.rdatatype.PTR:
            return None
        targets = [
            record.target.labels
            for records in message.answer
            if records.rdtype == dns.rdatatype.PTR
            for record in records
        ]
        names = sorted(filter(None, map(_name, targets)))
        rcode = message.rcode()
        return Answer(
            message.id,
            dns.reversename.to_address(asked.name),
            names[0] if names else None,
            rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN),
        )
    except (dns.exception.DNSException, ValueError):
        return None


def _name(labels: Sequence[bytes]) -> str | None:
    try:
        return clean(b".".join(labels).decode())
    except UnicodeDecodeError:
        return None
