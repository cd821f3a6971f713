"""What `labmon scan` shows: the machines as they are found, then the table, then what changed."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from labmon.cli.output import Column, say, stderr, table

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from labmon.scan.host import Host
    from labmon.scan.progress import Progress
    from labmon.scan.targets import Targets
    from labmon.store.history import Change
    from labmon.store.scans import ScanRecord

LISTED = 20
"""Changes that the end of a scan names one by one."""

NEWEST = 20
"""Machines that are shown while the scan runs."""


@dataclass(frozen=True)
class Found:
    """A machine, as the command's results have it."""

    address: str
    hostname: str | None
    mac: str | None
    vendor: str | None
    system: str | None
    ports: list[int] | None
    seen: str
    rtt: float | None
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


COLUMNS = [
    Column("address", "Address"),
    Column("hostname", "Name", gives=True),
    Column("mac", "MAC"),
    Column("vendor", "Vendor", gives=True, extra=True),
    Column("system", "System", extra=True),
    Column("ports", "Open", lambda ports: " ".join(map(str, ports)), gives=True, extra=True),
    Column("seen", "Seen by", lambda seen: ", ".join(dict.fromkeys(re.sub(r"/[^,]*", "", seen).split(", ")))),
    Column("rtt", "Answered in", lambda seconds: f"{seconds * 1000:.2f} ms", right=True),
]


@contextmanager
def live(progress: "Progress", hosts: "list[Host]", console: "Console | None" = None) -> Iterator[None]:
    """Draw the newest of `hosts` and how far the sweep is, ten times a second, until the block ends.

    Drawn by a thread, since the sweep gives up control only when somebody answers; both are only read.
    """
    from rich.live import Live

    console = console or stderr()
    with Live(
        get_renderable=lambda: _drawn(progress, hosts, console),
        console=console,
        refresh_per_second=10,
        transient=True,
    ):
        yield


def _drawn(progress: "Progress", hosts: "list[Host]", console: "Console") -> "RenderableType":
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    line = Table.grid(padding=(0, 1))
    line.add_row(
        f"{progress.phase:<9}",
        ProgressBar(total=max(progress.total, 1), completed=progress.asked, width=40),
        f"{progress.asked:,}/{progress.total:,} asked, {progress.found:,} found",
    )
    room = min(NEWEST, max(console.height - 3, 0))
    newest = hosts[len(hosts) - room :] if len(hosts) > room else list(hosts)
    if not newest or not room:
        return line
    drawn = table(COLUMNS, [Found.of(host) for host in newest], console.width)
    return Group(Text("\n".join(drawn[:1] + drawn[1:][-room:])), line)


def answered(hosts: "list[Host]", targets: "Targets") -> str:
    """How many, and of how many where that is known."""
    if not targets.on_link:
        return f"{len(hosts)} of {len(targets)} addresses answered"
    asked = [f"{len(targets)} addresses"] if targets else []
    asked += dict.fromkeys(f"{one} on {one.device}" for one in targets.on_link)
    return f"{len(hosts)} of {', '.join(asked)} answered"


def say_changes(record: "ScanRecord", before: datetime | None, changes: "list[Change]") -> None:
    """New, moved and gone since the scan before, counted and then named."""
    counted = f"{record.systems_new} new, {record.systems_moved} moved"
    if record.status != "completed":
        say(f"{counted}; who is gone, only a whole scan can tell")
    elif before is None:
        gone = f", {record.systems_gone} gone" if record.systems_gone else ""
        say(f"{counted}{gone}; the first whole scan of this range")
    else:
        when = f"{before.astimezone():%Y-%m-%d %H:%M:%S}"
        say(f"{counted}, {record.systems_gone} gone since the scan of {when}")
    if before is None:
        return
    for one in changes[:LISTED]:
        say(f"  {words(one)}")
    if len(changes) > LISTED:
        say(f"  and {len(changes) - LISTED} more: labmon systems history --scan {record.scan_id}")


def words(change: "Change") -> str:
    """One line for a change, such as "moved    pc-7 (system 7): 10.0.0.1 -> 10.0.0.9"."""
    from labmon.cli.output import printable

    word = {"found": "new"}.get(change.change, change.change)
    values = " -> ".join(value for value in (change.old_value, change.new_value) if value)
    name = (
        f"{change.hostname} (system {change.system_id})" if change.hostname else f"system {change.system_id}"
    )
    return printable(f"{word:<8} {name}: {values}")
