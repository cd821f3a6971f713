"""Tables of workers: once, for `labmon consume --status`, and live on a terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from labmon.app.open import open_store
from labmon.app.queues.workers import COLUMNS, LIVE, judged
from labmon.cli.output import Format, print_rows, say, stderr
from labmon.table import table

if TYPE_CHECKING:
    from labmon.config.tables import Config
    from labmon.consume.worker_stats import ProcessInfo

REDRAW = 0.5
"""Seconds between two drawings of the table."""


def print_status(config: "Config", form: Format) -> None:
    """The workers on all machines. One that has stopped updating its row is shown as dead."""
    from labmon.store.workers import recorded

    with open_store(config) as store, store.transaction() as connection:
        rows = [judged(row) for row in recorded(connection)]
    if not rows and form is Format.table:
        say("no workers. Start them with: labmon consume")
    else:
        print_rows(COLUMNS, rows, form)


@contextmanager
def live(processes: "Callable[[], list[ProcessInfo]]") -> Iterator[Callable[[], None]]:
    """Yield a function that redraws the table on the terminal, at most twice a second."""
    from rich.live import Live
    from rich.text import Text

    from labmon.consume.worker_stats import WorkerStats

    console, stats = stderr(), WorkerStats()
    drawn = 0.0
    with Live(console=console, auto_refresh=False, transient=True) as screen:

        def draw() -> None:
            nonlocal drawn
            if time.monotonic() - drawn >= REDRAW:
                drawn = time.monotonic()
                lines = table(LIVE, stats.rows(processes()), console.width)
                screen.update(Text("\n".join(lines)), refresh=True)

        yield draw
