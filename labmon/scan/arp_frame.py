"""ARP on Ethernet (RFC 826). No I/O. With `vendor` all of scapy is here.

scapy builds the frame of a sweep once and proves the fast reader right in the tests. It is not asked for
each packet, which would take it longer than the packet takes to the host and back.
"""

import socket
import struct

from scapy.layers.l2 import ARP, Ether

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_LENGTH = _ETHERNET.size + _ARP.size
_TYPE = 0x0806
_IPV4_ON_ETHERNET = (1, 0x0800, 6, 4)
_REPLY = 2
_GROUP = 0x01  # in the first octet: an address of many, which no single machine has


class ArpFrames:
    """The questions of one interface, and their answers."""

    def __init__(self, mac: str, address: str) -> None:
        """`mac` and `address` are this machine's on that link: to them the answers go."""
        frame = bytes(
            Ether(src=mac, dst="ff:ff:ff:ff:ff:ff")
            / ARP(op="who-has", hwsrc=mac, psrc=address, hwdst="00:00:00:00:00:00", pdst="0.0.0.0")
        )
        self._beginning = frame[: _LENGTH - 4]  # the address that is asked for comes last
        self._mac = bytes.fromhex(mac.replace(":", ""))
        self._address = socket.inet_aton(address)

    def question(self, address: str) -> bytes:
        """The frame that asks who has this address."""
        return self._beginning + socket.inet_aton(address)

    def read(self, frame: bytes) -> tuple[str, str] | None:
        """(address, MAC) from an answer to us; None for anything else: truncated, forged, of others."""
        if len(frame) < _LENGTH:
            return None
        to, _, kind = _ETHERNET.unpack_from(frame)
        *head, operation, mac, address, to_mac, to_address = _ARP.unpack_from(frame, _ETHERNET.size)
        if (kind, tuple(head), operation) != (_TYPE, _IPV4_ON_ETHERNET, _REPLY):
            return None
        if (to, to_mac, to_address) != (self._mac, self._mac, self._address):
            return None
        if mac[0] & _GROUP or not any(mac):
            return None
        return socket.inet_ntoa(address), mac.hex(":")
