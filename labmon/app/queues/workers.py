"""Workers as `labmon consume --status` lists them."""

from dataclasses import replace
from typing import TYPE_CHECKING

from labmon.readable import ago
from labmon.table import Column

if TYPE_CHECKING:
    from labmon.store.workers import Seen


LIVE = [
    Column("number", "Worker", right=True),
    Column("pid", "Process", right=True, extra=True),
    Column("queue", "Queue"),
    Column("state", "State", colour=True),
    Column("per_second", "Rate/s", "{:,.0f}".format, right=True),
    Column("stored", "Stored", "{:,}".format, right=True),
    Column("rejected", "Dead letters", "{:,}".format, right=True),
    Column("last_batch", "Batch", "{:,}".format, right=True, extra=True),
    Column("last_batch_at", "Last batch", lambda at: f"{ago(at)} ago", right=True, extra=True),
    Column("rss_bytes", "Memory", lambda size: f"{size / 2**20:.0f} MiB", right=True, extra=True),
    Column("restarts", "Restarts", right=True, extra=True),
]

COLUMNS = [
    Column("host", "Host", gives=True, name=True),
    Column("main_pid", "Of", right=True, extra=True),
    *LIVE,
    Column("started_at", "Up", ago, right=True, extra=True),
]


def judged(row: "Seen") -> "Seen":
    """A worker as it is shown: dead when it has stopped updating its row."""
    return row if row.is_alive else replace(row, state=f"dead for {ago(row.beat_at)}", per_second=0.0)
