"""NetBIOS and multicast DNS responders of a lab. Prints "ready"."""

import select
import socket

import dns.flags
import dns.message
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
print("ready", flush=True)
while True:
    for sock in select.select(list(answers), [], [])[0]:
        query, client = sock.recvfrom(4096)
        for wire in answers[sock](query):
            sock.sendto(wire, client)
