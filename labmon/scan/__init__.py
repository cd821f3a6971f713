"""Which addresses of a network are computers.

    targets ─► links ─► sweep ─┬─ arp  (arp_frame: the packets) ─┐
                               ├─ icmp (echo: the packets) ──────┼─► closer ─► names ─► Host ─► Discovery
                               ├─ tcp ───────────────────────────┤
                               └─ nmap (nmap_xml: what it says) ─┘

`links` tells who shares an Ethernet with us. `sweep` asks, a method answers, `closer` adds the details,
`names` and `local_names` put names to the answers. A method is an iterable over lists of `Host`, empty ones
included: each list hands control back, so that one thread sends, listens, resolves and can be stopped. What
becomes of a `Host` is the caller's affair; nothing here knows a broker or a store.
"""
