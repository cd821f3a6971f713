"""The ways to ask addresses. Each is an iterable over lists of `Host`, which may be empty.

`rounds` asks many addresses and then the silent ones again: `arp`, `ndp`, `ping` and `ping6` build on it.
`multicast_ping` asks a whole IPv6 link at once, `tcp` needs no permission, `nmap` (with `nmap_xml`) runs that
program. `context` is what they share.
"""
