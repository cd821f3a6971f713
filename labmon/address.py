"""Addresses that no machine can have: the one rule for what is scanned and for what is stored."""

from ipaddress import IPv6Address, ip_address, ip_network

NO_MACHINE = ("0.0.0.0/8", "224.0.0.0/3", "::/128", "ff00::/8")
""""This network", multicast, broadcast and reserved (RFC 1122, 5771, 919, 1112, 4291)."""

LINK_LOCAL = "fe80::/10"
"""Other machines on each link, so that without the link an address says nothing (RFC 4291, section 2.5.6)."""

_REASONS = {ip_network(one): "is no machine's: it is multicast, broadcast or reserved" for one in NO_MACHINE}
_REASONS[ip_network(LINK_LOCAL)] = "is link-local, which is another machine on each link"


def fault(text: str) -> str:
    """Why a machine in the inventory cannot have this address, as in "`text` ..."; "" when it can.

    Raises ValueError for text that is no address.
    """
    address = ip_address(text)
    if "%" in text:
        return "has a zone, which means nothing on another machine"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return f"is an IPv4 address in IPv6 form: write {address.ipv4_mapped}"
    return next((reason for network, reason in _REASONS.items() if address in network), "")
