"""NetBIOS and multicast DNS responders of a lab. Prints "ready"."""

import select
import socket
import sys

import dns.flags
import dns.message
import dns.reversename
import dns.rrset


def netbios(query, name, identifier=None):
    header = (identifier or query[:2]) + bytes.fromhex("84000000000100000000")
    entry = name.ljust(15).encode() + b"\x00" + b"\x04\x00"
    return header + query[12:50] + bytes(4) + (65).to_bytes(2, "big") + b"\x01" + entry + bytes(46)


def mdns(query, name):
    asked = dns.message.from_wire(query)
    reply = dns.message.make_response(asked)
    reply.answer.append(dns.rrset.from_text(asked.question[0].name, 10, "IN", "PTR", name))
    return reply.to_wire()


def legacy(query, address, name):
    """What a host says to a multicast question, whoever else is asked about in it (RFC 6762, section 6.7)."""
    asked = dns.message.from_wire(query)
    own = dns.reversename.from_address(address)
    if all(question.name != own for question in asked.question):
        return None
    reply = dns.message.make_response(asked)
    reply.answer.append(dns.rrset.from_text(own, 10, "IN", "PTR", name))
    return reply.to_wire()


def bound(address, port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, port))
    return sock


answers = {
    bound("10.77.0.10", 137): lambda query: [netbios(query, "LAB-PC-10")],
    bound("10.77.0.11", 5353): lambda query: [mdns(query, "lab-pc-11.local.")],
    # Somebody else's identifier, half a message, and no message at all.
    bound("10.77.0.13", 137): lambda query: [
        netbios(query, "FORGED", bytes([query[0] ^ 1, query[1]])),
        netbios(query, "FORGED")[:60],
        b"",
    ],
}

# Hosts that hear only what is asked of all; each answers from its own address.
group = bound("224.0.0.251", 5353)
group.setsockopt(
    socket.IPPROTO_IP,
    socket.IP_ADD_MEMBERSHIP,
    socket.inet_aton("224.0.0.251") + socket.inet_aton("10.77.0.2"),
)
listeners = {
    address: (bound(address, 5353), name)
    for address, name in (("10.77.0.14", "lab-pc-14.local."), ("10.77.0.15", "lab-pc-15.local."))
}
forger = bound("10.77.0.16", 5353)
heard = [group]
if socket.has_ipv6 and "fd00:5::14" in sys.argv[1:]:
    group6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    index = socket.if_nametoindex("cable")
    group6.bind(("ff02::fb", 5353, 0, index))
    group6.setsockopt(
        socket.IPPROTO_IPV6,
        socket.IPV6_JOIN_GROUP,
        socket.inet_pton(socket.AF_INET6, "ff02::fb") + index.to_bytes(4, sys.byteorder),
    )
    pc = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    pc.bind(("fd00:5::14", 5353))
    heard.append(group6)

print("ready", flush=True)
while True:
    for sock in select.select([*answers, *heard], [], [])[0]:
        if sock in heard:
            query, client = sock.recvfrom(4096)
            for address, (speaker, name) in listeners.items():
                wire = sock is group and legacy(query, address, name)
                if wire:
                    speaker.sendto(wire, client)
            if sock is group:  # in the name of another
                forger.sendto(legacy(query, "10.77.0.12", "forged.local.") or b"", client)
            elif wire := legacy(query, "fd00:5::14", "lab-pc-14.local."):
                pc.sendto(wire, client)
            continue
        query, client = sock.recvfrom(4096)
        for wire in answers[sock](query):
            sock.sendto(wire, client)
