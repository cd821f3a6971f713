"""When a machine was measured, as a strip of steps: what it was in each, and the percentage of the time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, Literal

from psycopg import Connection

from labmon.store.metrics.latest import FRESH

Word = Literal["up", "partly", "down", "off", "maintenance"]

Span = tuple[float, float]
"""Seconds since 1970."""

STEPS = {timedelta(days=1): 1800, timedelta(days=30): 12 * 3600}
"""Seconds that a step is long, by the longest range with such steps."""

RECENT = 3 * 3600.0
"""Seconds for which the sums of the hours may not have been made yet."""

NEARLY = 0.9
"""Share of a step that was measured and counts as all of it."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Steps of `step` seconds from `first` on."""

    first: datetime
    past: datetime
    step: int
    states: list[Word | None]  #: None before its first reading
    percent: float | None  #: of the time that it should have been measured; None where that is no time


def availability(connection: Connection[Any], system: int, now: datetime, length: timedelta) -> Availability:
    """The last `length` until now, in whole steps. The system exists."""
    step = next((step for limit, step in STEPS.items() if length <= limit), STEPS[max(STEPS)])
    end = datetime.fromtimestamp(-(-now.timestamp() // step) * step, UTC)
    first = end - max(length, timedelta(seconds=step))
    measured = _measured(connection, system, first, now, length > timedelta(days=2))
    kept = connection.execute(
        "SELECT weekly IS NOT NULL, extract(epoch FROM GREATEST(starts_at, %(first)s))::float8, "
        "extract(epoch FROM LEAST(ends_at, %(now)s))::float8 "
        "FROM labmon_under_maintenance(%(first)s, %(now)s) WHERE system_id = %(system)s",
        {"first": first, "now": now, "system": system},
    ).fetchall()
    known = _known(connection, system, measured, first, now)
    states, percent = strip(
        (first.timestamp(), now.timestamp()),
        step,
        known,
        measured,
        off=merged((begin, past) for is_weekly, begin, past in kept if is_weekly),
        maintenance=merged((begin, past) for is_weekly, begin, past in kept if not is_weekly),
    )
    states += [None] * (round((end - first).total_seconds() / step) - len(states))
    return Availability(first, end, step, states, percent)


def _known(
    connection: Connection[Any], system: int, measured: Sequence[Span], first: datetime, now: datetime
) -> float:
    """When its first reading was, as far as that is in the range. Before that nothing is known: it may not
    have been there. One that was never measured is known from now on."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM metrics_1h WHERE system_id = %s AND bucket < %s)", [system, first]
    ).fetchone()
    if row and row[0]:
        return first.timestamp()
    return measured[0][0] if measured else now.timestamp()


def strip(
    span: Span,
    step: int,
    known: float,
    measured: Sequence[Span],
    *,
    off: Sequence[Span] = (),
    maintenance: Sequence[Span] = (),
) -> tuple[list[Word | None], float | None]:
    """The word for each step, and the percentage of the time that it was measured, of the time since it is
    `known` that is neither off nor in maintenance unless it was measured all the same."""
    states: list[Word | None] = []
    first, past = span
    expected = found = 0.0
    at = first
    while at < past:
        begin, end = max(at, known), min(at + step, past)
        at += step
        if begin >= end:
            states.append(None)
            continue
        up = _covered(measured, begin, end)
        excused = _covered(merged([*measured, *off, *maintenance]), begin, end) - up
        length = end - begin
        expected += length - excused
        found += up
        if up >= NEARLY * (length - excused) and up > 0:
            states.append("up")
        elif excused >= 0.5 * length:
            planned = _covered(maintenance, begin, end) >= _covered(off, begin, end)
            states.append("maintenance" if planned else "off")
        else:
            states.append("partly" if up > 0 else "down")
    return states, round(100 * found / expected, 2) if expected else None


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same time in spans that do not touch, in order."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        elif begin < end:
            found.append((begin, end))
    return found


def _covered(spans: Sequence[Span], begin: float, end: float) -> float:
    return sum(max(0.0, min(end, past) - max(begin, first)) for first, past in spans)


def _measured(
    connection: Connection[Any], system: int, first: datetime, now: datetime, is_long: bool
) -> list[Span]:
    """When it was measured: each reading says so until the next is due. Of a long range the sums of the hours
    say it, but for the last hours, of which one reading is not all."""
    if not is_long:
        return _by_reading(connection, system, first, now)
    recent = datetime.fromtimestamp((now.timestamp() - RECENT) // 3600 * 3600, UTC)
    rows = connection.execute(
        "SELECT extract(epoch FROM bucket)::float8 FROM metrics_1h "
        "WHERE system_id = %s AND bucket >= %s AND bucket < %s ORDER BY 1",
        [system, first - timedelta(hours=1), recent],
    )
    return merged(
        [*((row[0], row[0] + 3600.0) for row in rows), *_by_reading(connection, system, recent, now)]
    )


def _by_reading(connection: Connection[Any], system: int, first: datetime, now: datetime) -> list[Span]:
    rows = connection.execute(
        "SELECT extract(epoch FROM collected_at)::float8 FROM readings "
        "WHERE system_id = %(system)s AND collected_at >= %(first)s AND collected_at < %(now)s "
        "AND hour >= labmon_bucket('1 hour', %(first)s) ORDER BY collected_at",
        {"system": system, "first": first - FRESH, "now": now},
    )
    times = [row[0] for row in rows]
    usual = median([after - before for before, after in zip(times, times[1:], strict=False)] or [60.0])
    lasts = min(1.75 * usual, 2 * 3600.0)
    return merged((time, min(time + lasts, now.timestamp())) for time in times)
