"""ARP on Ethernet (RFC 826). No I/O. The tests compare every frame with scapy."""

import socket
import struct

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_LENGTH = _ETHERNET.size + _ARP.size
_TYPE = 0x0806
_IPV4_ON_ETHERNET = (1, 0x0800, 6, 4)
_REQUEST, _REPLY = 1, 2
_BROADCAST, _UNKNOWN, _NO_ADDRESS = b"\xff" * 6, bytes(6), bytes(4)
_GROUP = 0x01  # in the first octet: a multicast address, which no single machine has


class ArpFrames:
    """Writes the questions of one interface, and reads the answers."""

    def __init__(self, mac: str, address: str) -> None:
        """`mac` and `address` are this machine's on that link: answers go to them."""
        self._mac = bytes.fromhex(mac.replace(":", ""))
        self._address = socket.inet_aton(address)
        self._beginning = _ETHERNET.pack(_BROADCAST, self._mac, _TYPE) + _ARP.pack(
            *_IPV4_ON_ETHERNET, _REQUEST, self._mac, self._address, _UNKNOWN, _NO_ADDRESS
        )
        self._beginning = self._beginning[:-4]  # the address that is asked for comes last

    def question(self, address: str) -> bytes:
        """The frame that asks which MAC has this address."""
        return self._beginning + socket.inet_aton(address)

    def read(self, frame: bytes) -> tuple[str, str] | None:
        """(address, MAC) from an answer to us; None for any other frame: truncated, forged, for others."""
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
