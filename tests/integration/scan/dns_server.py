"""A small DNS server: JSON in the first argument says where, and which name each address has.

{"at": "10.77.0.2", "names": {"10.77.0.10": ["lab-pc-01.example.edu."]}, "lose": 1, "mute": false}

`lose` drops the first so many queries about each address, `mute` all of them. Prints "ready", then every
address that it was asked about.
"""

import json
import socket
import sys
import threading
import time
from collections import Counter

import dns.message
import dns.rcode
import dns.reversename
import dns.rrset


class DnsServer:
    """Answers PTR queries until closed. Names not in the table do not exist."""

    def __init__(
        self, at="127.0.0.1", port=0, names=None, lose=0, mute=False, rcode=None, delay=0, told=None
    ):
        self._names = names or {}
        self._lose = lose
        self._mute = mute
        self._rcode = rcode
        self._delay = delay
        self._told = told
        self.asked = Counter()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((at, port))
        self.address = self._socket.getsockname()

    def serve(self):
        while True:
            try:
                wire, client = self._socket.recvfrom(4096)
            except OSError:
                return
            if not wire:
                return
            query = dns.message.from_wire(wire)
            address = dns.reversename.to_address(query.question[0].name)
            self.asked[address] += 1
            if self._told:
                self._told(address)
            time.sleep(self._delay)
            if not self._mute and self.asked[address] > self._lose:
                self.send(query, address, client)

    def send(self, query, address, client):
        self._socket.sendto(self.answer(query, address), client)

    def answer(self, query, address):
        reply = dns.message.make_response(query)
        if self._rcode is not None:
            reply.set_rcode(self._rcode)
        elif address in self._names:
            owner = query.question[0].name
            reply.answer.append(dns.rrset.from_text(owner, 60, "IN", "PTR", *self._names[address]))
        else:
            reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply.to_wire()

    def __enter__(self):
        self._thread = threading.Thread(target=self.serve)
        self._thread.start()
        return self

    def __exit__(self, *_):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", self.address)
        self._thread.join()
        self._socket.close()


if __name__ == "__main__":
    server = DnsServer(port=53, told=lambda address: print(address, flush=True), **json.loads(sys.argv[1]))
    print("ready", flush=True)
    server.serve()
