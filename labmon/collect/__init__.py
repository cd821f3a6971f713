"""What the machines are doing, asked over SSH without anything installed on them.

    Target ─► once, interval ─► pool ─┬─ ssh ─► probe.sh on the machine
                                      │              │
    Result ◄──────────────────────────┴─ probe.parse ◄┘

`once` measures many machines once, `interval` again and again: these are what others call.

    pool/       the threads, which machine is next, how many connections there may be
    ssh/        how each machine is reached, logging in, bastions: with paramiko, and nothing else with it
    hostkeys/   the key that each machine is known by
    probe/      the script that runs on the machine, and the pure parser of what it prints

`lookup` finds machines by name, `retry` says when one that failed is tried again and what to report of it,
`counter_cache` keeps counters for the rates of the next run, `clock_skew` reports wrong clocks, `deadline`
ends what takes too long, `failures` is the closed list of what can go wrong. A machine that cannot be
measured is a `Result` like any other. Nothing here knows a broker or a store.
"""
