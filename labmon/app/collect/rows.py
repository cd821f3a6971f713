"""Measurements as `labmon collect` lists and sums them up."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labmon.readable import percent, span
from labmon.table import Column

if TYPE_CHECKING:
    from labmon.app.collect.collect import Finished
    from labmon.collect.result import Result
    from labmon.collect.retry import Due


@dataclass(frozen=True)
class ResultRow:
    """A result as it is printed."""

    system_id: int | None
    ip_address: str
    hostname: str | None
    collected_at: datetime | None
    cpu_percent: float | None
    ram_percent: float | None
    disk_percent: float | None
    network_recv_mbps: float | None
    network_sent_mbps: float | None
    logged_in_users: int | None
    uptime_seconds: int | None
    duration_seconds: float
    failure: str | None
    missing: tuple[str, ...]
    clock_skew_seconds: float | None


COLUMNS = [
    Column("system_id", "ID", right=True),
    Column("ip_address", "Address"),
    Column("hostname", "Name", gives=True, name=True),
    Column("cpu_percent", "CPU", percent, right=True),
    Column("ram_percent", "RAM", percent, right=True),
    Column("disk_percent", "Disk", percent, right=True),
    Column("network_recv_mbps", "In Mbit/s", lambda rate: f"{rate:.1f}", right=True, extra=True),
    Column("network_sent_mbps", "Out Mbit/s", lambda rate: f"{rate:.1f}", right=True, extra=True),
    Column("logged_in_users", "Users", right=True),
    Column("uptime_seconds", "Up", span, right=True),
    Column("duration_seconds", "Took", lambda seconds: f"{seconds:.1f} s", right=True, extra=True),
    Column("failure", "Failure", absent="", gives=True),
]


def result_row(result: "Result") -> ResultRow:
    """A measurement or a failure, as a row."""
    values: dict[str, Any] = {
        name: getattr(result.readings, name, None) for name in ResultRow.__dataclass_fields__
    }
    values |= {
        "system_id": result.target.system_id,
        "ip_address": result.target.address,
        "hostname": result.target.name,
        "collected_at": result.collected_at,
        "duration_seconds": result.seconds,
        "failure": f"{result.failure.reason}: {result.failure.detail}" if result.failure else None,
        "missing": result.missing,
        "clock_skew_seconds": result.clock_skew,
    }
    return ResultRow(**values)


def nothing_due(due: "Due") -> str:
    """Why nothing is measured now though machines are selected."""
    return f"nothing measured: all of them failed before. {left(due)}"


def left(due: "Due") -> str:
    """The machines that are not tried this time, when the first of them is, and how to try them now."""
    assert due.next_at is not None
    wait = span((due.next_at - datetime.now(UTC)).total_seconds())
    return f"{due.later} that failed before are left for later, the first for {wait} (now: --retry-all)"


def reasons(failures: Counter[str]) -> str:
    """How many failed and why; the most frequent reason first. Empty when none did."""
    if not failures:
        return ""
    counts = ", ".join(f"{count} {reason}" for reason, count in failures.most_common())
    return f"; {failures.total()} failed: {counts}"


def summary(run: "Finished", stored: str) -> str:
    """The closing line of a run. `stored` says where the measurements went."""
    failures = Counter[str](result.failure.reason for result in run.results if result.failure)
    measured = len(run.results) - failures.total()
    where = stored if any(result.message for result in run.results) else "only shown"
    return (
        f"{measured} of {len(run.due.now)} measured"
        + (f", {where}" if measured else "")
        + (f"; {run.rejected} could not be stored" if run.rejected else "")
        + reasons(failures)
        + (f"; {left(run.due)}" if run.due.later else "")
    )


def other_accounts(accounts: Counter[str]) -> Iterator[str]:
    """For each account with which machines were measured that now refused ours: how to use it again."""
    for name, count in accounts.most_common():
        yield f"{count} of them were measured with the account {name} before: add --user {name}"


def clocks(results: "Sequence[Result]", limit: int = 3) -> str:
    """The machines whose clocks are wrong, `limit` of them by name. Empty when none is."""
    from labmon.collect.clock_skew import ClockSkews

    check = ClockSkews().check
    wrong = [text for result in results if (text := check(result))]
    more = f"; and {len(wrong) - limit} more" if len(wrong) > limit else ""
    return "; ".join(wrong[:limit]) + more
