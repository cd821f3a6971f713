"""Which addresses of a network are computers.

    targets ─► sweep ─┬─ icmp (echo: the packets) ─┐
                      └─ tcp ──────────────────────┴─► names ─► Host ─► Discovery

`sweep` asks, a method (`icmp`, `tcp`) answers, `names` puts names to the answers. A method is an iterable
over lists of `Host`, empty ones included: each list hands control back, so that one thread sends,
listens, resolves and can be stopped. What becomes of a `Host` is the caller's affair; nothing here knows
a broker or a store.
"""
