"""What `labmon collect` prints and draws."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labmon.cli.output import Column, Format, percent, print_rows, span, stderr

if TYPE_CHECKING:
    from rich.progress import Progress

    from labmon.collect.lane import Due
    from labmon.collect.rounds import Round
    from labmon.collect.runner import Result


@dataclass(frozen=True)
class Row:
    """A result as it is printed."""

    system_id: int | None
    address: str
    name: str | None
    collected_at: datetime | None
    cpu_percent: float | None
    ram_percent: float | None
    disk_percent: float | None
    network_recv_mbps: float | None
    network_sent_mbps: float | None
    logged_in_users: int | None
    uptime_seconds: int | None
    seconds: float
    failure: str | None
    missing: tuple[str, ...]
    clock_skew: float | None


COLUMNS = [
    Column("system_id", "ID", right=True),
    Column("address", "Address"),
    Column("name", "Name", gives=True),
    Column("cpu_percent", "CPU", percent, right=True),
    Column("ram_percent", "RAM", percent, right=True),
    Column("disk_percent", "Disk", percent, right=True),
    Column("network_recv_mbps", "In Mbit/s", lambda rate: f"{rate:.1f}", right=True, extra=True),
    Column("network_sent_mbps", "Out Mbit/s", lambda rate: f"{rate:.1f}", right=True, extra=True),
    Column("logged_in_users", "Users", right=True),
    Column("uptime_seconds", "Up", span, right=True),
    Column("seconds", "Took", lambda seconds: f"{seconds:.1f} s", right=True, extra=True),
    Column("failure", "Failure", absent="", gives=True),
]


def nothing_to_do(due: "Due") -> str:
    """Why nobody is measured."""
    if due.later:
        return f"nothing to measure now: {left(due)}"
    return "no systems to measure. Find some with: labmon scan 10.30.5.0/24 --dept 1"


def left(due: "Due") -> str:
    """The machines that are not tried this time, and when the first of them is."""
    assert due.next_at is not None
    wait = span((due.next_at - datetime.now(UTC)).total_seconds())
    return f"{due.later} that failed before are left for later, the first for {wait} (now: --retry-all)"


def reasons(failures: Counter[str]) -> str:
    """How many failed and why; the most frequent reason first. Empty when none did."""
    if not failures:
        return ""
    told = ", ".join(f"{count} {reason}" for reason, count in failures.most_common())
    return f"; {failures.total()} failed: {told}"


def summary(results: "Sequence[Result]", total: int, due: "Due", stored: str, lost: int) -> str:
    """The closing line of a run. `stored` says where the measurements went."""
    failures = Counter[str](result.failure.reason for result in results if result.failure)
    measured = len(results) - failures.total()
    where = stored if any(result.message for result in results) else "only shown"
    return (
        f"{measured} of {total} measured"
        + (f", {where}" if measured else "")
        + (f"; {lost} could not be stored" if lost else "")
        + reasons(failures)
        + (f"; {left(due)}" if due.later else "")
    )


def clocks(results: "Sequence[Result]", most: int = 3) -> str:
    """Whose clocks are wrong, of `most` machines by name. Empty when none is."""
    from labmon.collect.clocks import Clocks

    look = Clocks().look
    told = [said for result in results if (said := look(result))]
    more = f"; and {len(told) - most} more" if len(told) > most else ""
    return "; ".join(told[:most]) + more


def round_line(over: "Round", due: "Due", lost: int, spooled: int) -> str:
    """What a round came to: so many more were lost, so many all in all are in the spool."""
    kept = f"; {spooled} kept in the spool (why: labmon doctor)" if spooled else ""
    late = f"; {over.late} not done yet" if over.late else ""
    later = f"; {due.later} that failed before are left for later" if due.later else ""
    return (
        f"{datetime.now():%H:%M:%S} round {over.number + 1}: {over.measured} measured in {over.seconds:.1f} s"
        + (f"; {lost} could not be stored" if lost else "")
        + kept
        + reasons(over.failures)
        + late
        + later
    )


def print_results(results: "list[Result]", form: Format) -> None:
    """To stdout."""
    # Machines in the inventory's order, not in that of their answers: two runs can be compared.
    results.sort(key=lambda one: (one.target.system_id is None, one.target.system_id, one.target.address))
    print_rows(COLUMNS, [_row(one) for one in results], form)


def _row(result: "Result") -> Row:
    values: dict[str, Any] = {name: getattr(result.readings, name, None) for name in Row.__dataclass_fields__}
    values |= {
        "system_id": result.target.system_id,
        "address": result.target.address,
        "name": result.target.name,
        "collected_at": result.collected_at,
        "seconds": result.seconds,
        "failure": f"{result.failure.reason}: {result.failure.detail}" if result.failure else None,
        "missing": result.missing,
        "clock_skew": result.clock_skew,
    }
    return Row(**values)


def drawn(results: "Iterable[Result]", total: int) -> "Iterator[Result]":
    """The results, with a line on the terminal that tells how many there are."""
    with live(total) as line:
        for result in results:
            line.add(result)
            yield result


class Live:
    """The line on the terminal that tells how far a round is."""

    def __init__(self, bar: "Progress") -> None:
        self._bar = bar
        self._task = bar.add_task("", failed=0)

    def begin(self, total: int) -> None:
        """A new round, of so many machines."""
        self._bar.reset(self._task, total=total, failed=0)

    def say(self, text: str) -> None:
        """A line of talk, above this one."""
        self._bar.console.print(text, markup=False, soft_wrap=True)

    def add(self, result: "Result") -> None:
        """One of them is done."""
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
