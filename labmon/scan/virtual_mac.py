"""MAC addresses of redundancy protocols, which several routers take over from each other. No I/O."""

_PREFIXES = (
    "00:00:5e:00:01:",  # VRRP for IPv4 (RFC 9568, section 7.3), and CARP
    "00:00:5e:00:02:",  # VRRP for IPv6
    "00:00:0c:07:ac:",  # HSRP (RFC 2281, section 5.5)
    "00:00:0c:9f:f",  # HSRP version 2
    "00:05:73:a0:0",  # HSRP for IPv6
    "00:07:b4:00:",  # GLBP
)


def is_virtual(mac: str) -> bool:
    """Whether this MAC (lower case, with colons) is of a protocol, not of a machine: the last digits are the
    number of a group, and the same group in another network has the same MAC."""
    return mac.startswith(_PREFIXES)
