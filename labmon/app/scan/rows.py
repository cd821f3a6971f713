"""Machines and changes as `labmon scan` lists them."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from labmon.readable import plural
from labmon.table import Column
from labmon.text import foreign

if TYPE_CHECKING:
    from labmon.scan.host import Host
    from labmon.scan.targets.target_set import Targets
    from labmon.store.inventory.history import Change


@dataclass(frozen=True)
class Found:
    """A machine, as the results of the command show it."""

    ip_address: str
    hostname: str | None
    mac_address: str | None
    vendor: str | None
    os_guess: str | None
    ports: list[int] | None
    seen_by: str
    rtt_seconds: float | None
    seen_at: datetime

    @classmethod
    def of(cls, host: "Host") -> "Found":
        return cls(
            host.address,
            host.hostname,
            host.mac,
            host.vendor,
            host.system,
            list(host.ports) or None,
            host.evidence,
            host.rtt,
            host.seen_at,
        )


def _methods(evidence: str) -> str:
    """Which questions were answered, without their details."""
    return ", ".join(dict.fromkeys(re.sub(r"/[^,]*", "", evidence).split(", ")))


COLUMNS = [
    Column("ip_address", "Address"),
    Column("hostname", "Name", gives=True, name=True),
    Column("mac_address", "MAC"),
    Column("vendor", "Vendor", gives=True, extra=True),
    Column("os_guess", "System", extra=True),
    Column("ports", "Open", lambda ports: " ".join(map(str, ports)), gives=True, extra=True),
    Column("seen_by", "Seen by", _methods),
    Column("rtt_seconds", "Answered in", lambda seconds: f"{seconds * 1000:.2f} ms", right=True),
]


def answered(hosts: "list[Host]", targets: "Targets") -> str:
    """How many answered, and of how many where that is known."""
    if not targets.on_link:
        return f"{len(hosts)} of {plural(len(targets), 'address', 'addresses')} answered"
    asked = [plural(len(targets), "address", "addresses")] if targets else []
    asked += dict.fromkeys(f"{one} on {one.device}" for one in targets.on_link)
    return f"{len(hosts)} of {', '.join(asked)} answered"


def retired(change: "Change") -> str:
    """Which machine it is that should not be there any more: "system 2 (pc-2) is retired"."""
    called = f" ({change.hostname})" if change.hostname else ""
    return foreign(f"system {change.system_id}{called} is retired")


def words(change: "Change") -> str:
    """One line for a change, such as "moved    pc-7 (system 7): 10.0.0.1 -> 10.0.0.9"."""
    word = {"found": "new"}.get(change.change, change.change)
    values = " -> ".join(value for value in (change.old_value, change.new_value) if value)
    name = (
        f"{change.hostname} (system {change.system_id})" if change.hostname else f"system {change.system_id}"
    )
    return foreign(f"{word:<8} {name}: {values}")
