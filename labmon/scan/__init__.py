"""Which addresses of a network are computers.

    targets ─► links ─► sweep ─┬─ own_links ─┬─ arp  (arp_frame) ─┐
                               │             ├─ ndp  (ndp_frame) ─┤
                               │             └─ everybody (icmp6) ┤
                               ├─ icmp, icmp6 (echo) ─────────────┼─► closer ─► names ─► Host ─► Discovery
                               ├─ tcp ────────────────────────────┤
                               └─ nmap (nmap_xml) ────────────────┘

`links` tells who shares an Ethernet with us. `sweep` asks, a method answers, `closer` adds the details,
`names`, and for want of one `local_names` (netbios, mdns), put names to the answers. Of IPv6, `ndp` asks an
address on the link, `everybody` the whole link at once. `rounds` asks the silent again, as long as
`persistence` says; `routers` are met before pings go through them. A method is an iterable over lists of
`Host`, empty ones included: each list hands control back, so that one thread sends, listens, resolves and can
be stopped. What becomes of a `Host` is the caller's affair; nothing here knows a broker or a store.
"""
