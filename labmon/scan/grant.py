"""What would let this account do what it may not."""

import os
import sys
from typing import Literal


def how_to_grant(what: Literal["ping", "ARP", "neighbour discovery"] = "ping") -> str:
    """What lets this Python do that, least powerful first."""
    ping = (
        "sysctl -w net.ipv4.ping_group_range='0 2147483647' (any user may ping), " if what == "ping" else ""
    )
    return f"{ping}setcap cap_net_raw+ep {os.path.realpath(sys.executable)}, or root"
