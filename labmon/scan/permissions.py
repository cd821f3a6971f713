"""How to let this account send what it may not send."""

import os
from typing import Literal


def how_to_grant(what: Literal["ping", "ARP", "neighbour discovery"] = "ping") -> str:
    """The ways to allow it, least powerful first.

    Not setcap on the Python program: it would open raw sockets to every user of that program.
    """
    group = os.getgid()
    ping = (
        f"sysctl -w net.ipv4.ping_group_range='{group} {group}' (its group may ping), "
        if what == "ping"
        else ""
    )
    return f"{ping}a service with AmbientCapabilities=CAP_NET_RAW (examples/systemd), or root"
