"""Who made a network card, by the first half of its MAC address."""

from scapy.data import MANUFDB

PRIVATE = "(random)"

_QEMU = "52:54:00:"  # nobody bought it either, but it stays with its virtual machine

_LOCAL = 0x02  # the bit of a first octet that nobody buys: the system made the address up (IEEE 802c)


def vendor(mac: str) -> str | None:
    """The maker's short name, PRIVATE for an address that the system made up, None when nobody knows."""
    if mac.startswith(_QEMU):
        return "QEMU"
    if int(mac[:2], 16) & _LOCAL:
        return PRIVATE
    name: str = MANUFDB.lookup(mac)[0]
    return None if name == mac else name
