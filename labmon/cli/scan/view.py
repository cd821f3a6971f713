"""Output of `labmon scan`: the machines as they are found, the table, and what changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from labmon.app.scan.rows import COLUMNS, Found, retired, words
from labmon.cli.output import say, stderr
from labmon.readable import shown
from labmon.table import table

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from labmon.app.scan.scan import ScanChanges
    from labmon.scan.host import Host
    from labmon.scan.progress import Progress

LISTED = 20
"""Changes that are listed at the end of a scan; more are only counted."""

NEWEST = 20
"""Machines that are shown while the scan runs, the newest."""


@contextmanager
def live(progress: "Progress", hosts: "list[Host]", console: "Console | None" = None) -> Iterator[None]:
    """Draw the newest of `hosts` and the progress, ten times a second, until the block ends.

    A thread draws, since the sweep gives up control only when a host answers. It only reads both.
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


def say_changes(result: "ScanChanges") -> None:
    """Print what is new, moved and gone since the scan before: counts, then a list."""
    record, before = result.record, result.before
    changes = [one for one in result.changes if one.change != "answered"]
    counted = f"{record.systems_new} new, {record.systems_moved} moved"
    if record.status != "completed":
        say(f"{counted}; which machines are gone, only a whole scan can tell")
    elif before is None:
        gone = f", {record.systems_gone} gone" if record.systems_gone else ""
        say(f"{counted}{gone}; the first whole scan of this range")
    else:
        when = shown(before)
        say(f"{counted}, {record.systems_gone} gone since the scan of {when}")
    for one in result.changes:
        if one.change == "answered":
            say(f"{retired(one)}, and answered at {one.new_value}")
    if result.waiting:
        some = "1 system waits" if result.waiting == 1 else f"{result.waiting} systems wait"
        say(f"{some} in quarantine. Let them in: labmon systems accept --dept {record.dept_id}")
    if before is None:
        return
    for one in changes[:LISTED]:
        say(f"  {words(one)}")
    if len(changes) > LISTED:
        say(f"  and {len(changes) - LISTED} more: labmon systems history --scan {record.scan_id}")
