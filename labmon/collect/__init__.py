"""What the machines are doing, asked over SSH without anything installed on them.

    Target ─► runner ─┬─ login, hostkeys ─► ssh ─► probe.sh on the machine
                      │                                │
    Result ◄──────────┴── parse ◄── counters ◄─────────┘

`runner` asks many at once and is what others call; `ssh` alone knows paramiko; `parse` and `counters` are
pure. `deadline` ends what takes too long, `failures` is the closed list of what can go wrong. A machine that
cannot be measured is a `Result` like any other; `lane` says when it is tried again, and what to tell of it.
Nothing here knows a broker or a store.
"""
