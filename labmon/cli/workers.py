"""The workers as tables: once, for `labmon consume --status`, and live on a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from labmon.cli.output import Column, Format, ago, print_rows, say, stderr, table
from labmon.cli.wiring import open_store

if TYPE_CHECKING:
    from labmon.config import Config
    from labmon.consume.register import Member, Register
    from labmon.store.workers import Seen

REDRAW = 0.5
"""Seconds."""

LIVE = [
    Column("number", "Worker", right=True),
    Column("pid", "Process", right=True),
    Column("queue", "Queue"),
    Column("state", "State"),
    Column("per_second", "Rate/s", "{:,.0f}".format, right=True),
    Column("stored", "Stored", "{:,}".format, right=True),
    Column("rejected", "Dead letters", "{:,}".format, right=True),
    Column("last_batch", "Batch", "{:,}".format, right=True, extra=True),
    Column("last_batch_at", "Last batch", lambda at: f"{ago(at)} ago", right=True),
    Column("rss_bytes", "Memory", lambda size: f"{size / 2**20:.0f} MiB", right=True, extra=True),
    Column("restarts", "Restarts", right=True),
]

COLUMNS = [
    Column("host", "Host"),
    Column("main_pid", "Of", right=True, extra=True),
    *LIVE,
    Column("started_at", "Up", ago, right=True, extra=True),
]


def print_status(config: "Config", form: Format) -> None:
    """Who works, on all machines; whoever has not been heard of is dead."""
    from labmon.store.workers import recorded

    with open_store(config) as store, store.transaction() as connection:
        rows = [_judged(row) for row in recorded(connection)]
    if not rows and form is Format.table:
        say("no workers. Start them with: labmon consume")
    else:
        print_rows(COLUMNS, rows, form)


def _judged(row: "Seen") -> "Seen":
    return row if row.is_alive else replace(row, state=f"dead for {ago(row.beat_at)}", per_second=0.0)


@contextmanager
def live(members: "Callable[[], list[Member]]", register: "Register") -> Iterator[Callable[[], None]]:
    """Yields what draws the counts on the terminal, when it is time to."""
    from rich.live import Live
    from rich.text import Text

    console = stderr()
    drawn = 0.0
    with Live(console=console, auto_refresh=False, transient=True) as screen:

        def draw() -> None:
            nonlocal drawn
            if time.monotonic() - drawn >= REDRAW:
                drawn = time.monotonic()
                lines = table(LIVE, register.rows(members()), console.width)
                screen.update(Text("\n".join(lines)), refresh=True)

        yield draw
