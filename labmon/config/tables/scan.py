"""[scan]"""

from typing import Annotated

import msgspec

from labmon.config.tables.fields import Port, Table, comment
from labmon.config.units import Seconds


class ScanConfig(Table, frozen=True, kw_only=True):
    """Scanning: how machines are found."""

    max_hosts: Annotated[int, comment("Refuse larger networks, unless --force is given.", ge=1)] = 65536
    rate: Annotated[
        int, comment("Rate limit in packets per second. 0: as fast as the socket accepts them.", ge=0)
    ] = 10000
    retries: Annotated[
        int,
        comment(
            "Maximum number of retries for an address that does not answer. One where many addresses "
            "answered the first probe, more where few did, and as long as retries find machines: packets are "
            "being lost.",
            ge=0,
            le=10,
        ),
    ] = 7
    timeout: Annotated[
        Seconds, comment("Maximum wait for the last answers. Shorter where answers come quickly.")
    ] = Seconds(1)
    tcp_ports: Annotated[
        list[Port], comment("TCP ports to try where ping gets no answer or is not permitted.")
    ] = msgspec.field(default_factory=lambda: [22, 445, 3389, 80])
    tcp_silent_max: Annotated[
        int,
        comment(
            "With --type auto, probe addresses that did not answer a ping by TCP as well, if there are no "
            "more of them than this.",
            ge=0,
        ),
    ] = 4096
    details: Annotated[
        bool,
        comment(
            "With --type auto, also ping each host found and try its tcp_ports, to learn its operating "
            "system and open ports."
        ),
    ] = True
    exclude: Annotated[
        list[str],
        comment("Addresses that are never probed: networks, ranges, single addresses, or @FILE with a list."),
    ] = msgspec.field(default_factory=list)
    allow: Annotated[
        list[str],
        comment("If set, only these may be probed: networks, ranges or single addresses."),
    ] = msgspec.field(default_factory=list)
    names: Annotated[bool, comment("Look up host names: reverse DNS, then NetBIOS and multicast DNS.")] = True
    name_timeout: Annotated[Seconds, comment("Maximum time that a scan waits for host names at its end.")] = (
        Seconds(3)
    )
