"""Who made a network card, by the first half of its MAC address."""

from labmon.scan.names.scapy_cache import usable_cache

with usable_cache():
    from scapy.data import MANUFDB

PRIVATE = "(random)"

_QEMU = "52:54:00:"  # no bought prefix, but it stays with its virtual machine

_LOCAL = 0x02  # in the first octet: made up by a system, not bought (IEEE 802c)


def vendor(mac: str) -> str | None:
    """The maker's short name, PRIVATE for an address that a system made up, None when it is unknown."""
    if mac.startswith(_QEMU):
        return "QEMU"
    if int(mac[:2], 16) & _LOCAL:
        return PRIVATE
    name: str = MANUFDB.lookup(mac)[0]
    return None if name == mac else name
