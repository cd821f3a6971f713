"""Host names and vendors of the machines that were found.

`resolve` asks /etc/hosts, then reverse DNS; `local_names` asks hosts on the same link themselves (NetBIOS,
multicast DNS). `ptr`, `netbios` and `mdns` are the protocols; `hostname` says what may be a name. `vendor`
knows the makers of network cards.
"""
