"""What the machines are doing, asked over SSH without anything installed on them.

    Target ─► runner, rounds ─► pool ─┬─ access ─► ssh ─► probe.sh on the machine
                                      │                       │
    Result ◄──────────────────────────┴─ parse ◄── counters ◄─┘

`runner` asks many once, `rounds` again and again: these are what others call. `pool` has the threads,
`places` says whose turn it is, `memory` keeps the counters of the last time, `access` knows how each machine
is reached; `ssh` and what it is made of alone know paramiko; `parse` and what it reads with are pure:
`output` cuts, `linux`, `darwin`, `windows` and `programs` read, `counters` makes rates. `deadline` ends what
takes too long, `failures` is the closed list of what can go wrong, `clocks` tells whose time is wrong. A
machine that cannot be measured is a `Result` like any other; `lane` says when it is tried again, and what to
tell of it. Nothing here knows a broker or a store.
"""
