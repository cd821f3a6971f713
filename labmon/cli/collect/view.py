"""What `labmon collect` prints and draws: results, the closing line, the line that shows how far it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from labmon.app.collect.rows import COLUMNS, result_row
from labmon.cli.output import Format, print_rows, stderr

if TYPE_CHECKING:
    from rich.progress import Progress

    from labmon.collect.result import Result


def print_results(results: "list[Result]", form: Format) -> None:
    """To stdout."""
    # Machines in the inventory's order, not in that of their answers: two runs can be compared.
    results.sort(key=lambda one: (one.target.system_id is None, one.target.system_id, one.target.address))
    print_rows(COLUMNS, [result_row(one) for one in results], form)


class Live:
    """The line on the terminal that shows how far a round is."""

    def __init__(self, bar: "Progress") -> None:
        self._bar = bar
        self._task = bar.add_task("", failed=0)

    def begin(self, total: int) -> None:
        """Start a round of `total` machines."""
        self._bar.reset(self._task, total=total, failed=0)

    def say(self, text: str) -> None:
        """Print a line above this one."""
        self._bar.console.print(text, markup=False, soft_wrap=True)

    def add(self, result: "Result") -> None:
        """Count one machine as done."""
        failed = self._bar.tasks[0].fields["failed"] + (result.failure is not None)
        self._bar.update(self._task, advance=1, failed=failed)


@contextmanager
def live(total: int) -> "Iterator[Live]":
    """The line of a round, for as long as the block runs."""
    with _progress() as bar:
        line = Live(bar)
        line.begin(total)
        yield line


def _progress() -> "Progress":
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("measuring"),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,}, {task.fields[failed]:,} failed"),
        TimeElapsedColumn(),
        console=stderr(),
        transient=True,
        refresh_per_second=4,
    )
