"""Which addresses of a network have a machine.

    targets ─► sweep ─┬─ on_link ── arp, ndp, multicast_ping ─┐
                      ├─ gateways ── ping, ping6 ─────────────┤
                      ├─ tcp ─────────────────────────────────┼─► enrich ─► naming ─► Host ─► Discovery
                      └─ nmap ────────────────────────────────┘

`sweep` chooses a method for each address (`methods/`), `enrich` adds details to the hosts that answered,
`naming` their names (`names/`). `late` takes in answers that come while a later step goes on. `on_link` has
the methods for links of this machine, which `kernel/` knows; `gateways` asks routers for their MAC before
pings go through them. `targets/` are the addresses, `wire/` the packets, `pacing/` says how fast, how often
and how long to ask. `unproven` finds answers that prove no machine, `virtual_mac` MACs that are no
machine's. `progress` has the counters and what could not be done, `permissions` how to allow what this
account may not send.

A method is an iterable over lists of `Host`, empty ones included: each list hands control back, so that one
thread sends, receives, looks up names and can be stopped. The caller decides what becomes of a `Host`;
nothing here knows a broker or a store.
"""
