"""Find the computers of a campus, measure them over SSH, and keep what they say.

    scan ────► Discovery ─┐                              ┌─► systems, scans
    collect ─► Metrics ───┼─► publish ─► broker ─► consume ─► metrics ─► rules ─┐
    alerts ──► Alert ─────┘                              └─► alerts ─► people   │
       ▲                                                                        │
       └────────────────────────────────────────────────────────────────────────┘

The folders are that line, left to right. `scan` and `collect` yield messages and know neither broker nor
store; `brokers` carry bytes; only `consume`, and the relay of `alerts`, know both a broker and the store;
`cli` wires and prints, and nothing imports `cli`. Without a queue the same messages go straight to the
handlers that `consume` uses, so there is one write path.
"""

__version__ = "0.1.0"
