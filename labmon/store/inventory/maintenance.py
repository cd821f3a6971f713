"""When machines are left alone: maintenance, the hours that a lab is closed, silences.

Periods of time are computed in one place, `labmon_maintenance_ranges` in the database. Weekly hours are on
while the wall clock of their time zone is within them, also on the days when the clocks change.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, get_args

from psycopg import Connection
from psycopg.rows import class_row

from labmon.errors import UsageError
from labmon.store.inventory import zones

Mode = Literal["skip", "record", "mute", "silence"]
MODES = get_args(Mode)

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Hours = tuple[int, str, int, str]
"""Weekday (1: Monday), from, how many days later, until; the times as HH:MM, 24:00 included."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One of the three, or none of them: everything."""

    dept_id: int | None = None
    lab_id: int | None = None
    system_id: int | None = None

    def __str__(self) -> str:
        for word, number in (("system", self.system_id), ("lab", self.lab_id), ("dept", self.dept_id)):
            if number is not None:
                return f"{word} {number}"
        return "all"


EVERYTHING = Scope()


@dataclass(frozen=True, slots=True)
class Maintenance:
    """One of them, with the stretch that is on, or else the next within eight days."""

    maintenance_id: int
    mode: Mode
    dept_id: int | None
    lab_id: int | None
    system_id: int | None
    rule: str | None
    starts_at: datetime | None
    ends_at: datetime | None
    weekly: str | None
    timezone: str | None
    said_by: str | None
    comment: str | None
    begins: datetime | None
    until: datetime | None
    active: bool
    always: bool = False  #: by weekly hours that are the whole week

    @property
    def scope(self) -> Scope:
        """Whose it is."""
        return Scope(self.dept_id, self.lab_id, self.system_id)


def parse_weekly(text: str) -> list[Hours]:
    """The hours of a week as a person says them: "Mon-Thu 18:00-08:00, Fri 18:00-Mon 8:00".

    A time that ends before it begins ends on the next day; a day without a time is all of it; "Fri 18:00-Mon
    07:30" goes over days. Raises UsageError.
    """
    hours: list[Hours] = []
    for part in text.split(","):
        hours += _part(part.strip())
    return hours


_MINUTES = 7 * 24 * 60


def is_whole_week(hours: Sequence[Hours]) -> bool:
    """True when no minute of a week is outside these hours."""
    spans = []
    for weekday, starts, days, ends in hours:
        first = (weekday - 1) * 24 * 60 + _minute(starts)
        spans.append((first, first + days * 24 * 60 + _minute(ends) - _minute(starts)))
    reached = 0
    for first, past in sorted((one + shift, two + shift) for one, two in spans for shift in (-_MINUTES, 0)):
        if first > reached:
            break
        reached = max(reached, past)
    return reached >= _MINUTES


def _minute(time: str) -> int:
    hour, minute = time.split(":")
    return int(hour) * 60 + int(minute)


_DAY = r"(mon|tue|wed|thu|fri|sat|sun)[a-z]*"
_TIME = r"(\d{1,2}:\d{2})"
_SPANS = re.compile(rf"{_DAY}(?:\s*-\s*{_DAY})?(?:\s+{_TIME}\s*-\s*{_TIME})?", re.IGNORECASE)
_ACROSS = re.compile(rf"{_DAY}\s+{_TIME}\s*-\s*{_DAY}\s+{_TIME}", re.IGNORECASE)


def _part(part: str) -> Iterator[Hours]:
    if match := _ACROSS.fullmatch(part):
        first, last = _day(match[1]), _day(match[3])
        starts, ends = _time(match[2]), _time(match[4])
        if (first, starts) == (last, ends):
            raise UsageError(f"--weekly {part[:60]!r}: ends when it begins. For the whole week: Mon-Sun")
        yield first + 1, starts, (last - first) % 7 or (0 if starts < ends else 7), ends
    elif match := _SPANS.fullmatch(part):
        first, last = _day(match[1]), _day(match[2] or match[1])
        starts, ends = _time(match[3] or "0:00"), _time(match[4] or "24:00")
        if starts == ends:
            days = part.split()[0]
            raise UsageError(f"--weekly {part[:60]!r}: ends when it begins. For whole days write {days!r}")
        for day in range(first, first + (last - first) % 7 + 1):
            yield day % 7 + 1, starts, 0 if starts < ends else 1, ends
    else:
        raise UsageError(
            f'--weekly {part[:60]!r}: write "Mon-Fri 18:00-08:00", "Sat-Sun" or "Fri 18:00-Mon 7:30"'
        )


def _day(name: str) -> int:
    return DAYS.index(name[:3].lower())


def _time(text: str) -> str:
    hour, minute = map(int, text.split(":"))
    if hour > 24 or minute > 59 or (hour == 24 and minute):
        raise UsageError(f"--weekly: {text} is no time of day")
    return f"{hour:02}:{minute:02}"


def add(
    connection: Connection[Any],
    mode: Mode,
    scope: Scope,
    *,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
    weekly: str | None = None,
    timezone: str | None = None,
    rule: str | None = None,
    said_by: str | None = None,
    comment: str | None = None,
) -> int:
    """Begin a new one, in the caller's transaction; returns its number.

    Both ends are given, or `weekly` with its time zone; then they say from when and how long the weekly hours
    hold. `rule` is for silences. Raises UsageError for what cannot be meant.
    """
    hours = parse_weekly(weekly) if weekly is not None else []
    if weekly is None and (starts_at is None or ends_at is None):
        raise UsageError("say from when until when, or --weekly")
    if weekly is None and timezone is not None:
        raise UsageError(
            "--timezone is for --weekly; write the zone in the time itself: 2027-03-28T02:30+01:00"
        )
    if starts_at is not None and ends_at is not None and starts_at >= ends_at:
        raise UsageError(f"it would end at {ends_at}, before it begins")
    zone = zones.resolve(connection, timezone) if weekly is not None else None
    row = connection.execute(
        "INSERT INTO maintenance (mode, dept_id, lab_id, system_id, rule, starts_at, ends_at, weekly, "
        "timezone, said_by, comment) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "RETURNING maintenance_id",
        [
            *(mode, scope.dept_id, scope.lab_id, scope.system_id, rule),
            *(starts_at, ends_at, weekly, zone, said_by, comment),
        ],
    ).fetchone()
    assert row is not None
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO maintenance_hours VALUES (%s, %s, %s, %s, %s)", [(row[0], *one) for one in hours]
        )
    return int(row[0])


def remove(connection: Connection[Any], maintenance_id: int) -> bool:
    """End it for good. False when there is none of that number."""
    done = connection.execute("DELETE FROM maintenance WHERE maintenance_id = %s", [maintenance_id])
    return done.rowcount > 0


def maintenances(connection: Connection[Any], now: datetime, *, over: bool = False) -> list[Maintenance]:
    """All of them by number; those that are over only when asked for."""
    with connection.cursor(row_factory=class_row(Maintenance)) as cursor:
        cursor.execute(
            """
            SELECT maintenance_id, mode, dept_id, lab_id, system_id, rule, maintenance.starts_at,
                   maintenance.ends_at, weekly, timezone, said_by, comment,
                   COALESCE(ranges.starts_at, maintenance.starts_at) AS begins,
                   COALESCE(ranges.ends_at, maintenance.ends_at) AS until,
                   COALESCE(ranges.starts_at <= %(now)s, false) AS active
            FROM maintenance LEFT JOIN LATERAL (
                SELECT * FROM labmon_maintenance_ranges(%(now)s, %(now)s + interval '8 days') AS ranges
                WHERE ranges.maintenance_id = maintenance.maintenance_id ORDER BY ranges.starts_at LIMIT 1
            ) AS ranges USING (maintenance_id)
            WHERE %(over)s OR maintenance.ends_at IS NULL OR maintenance.ends_at > %(now)s
            ORDER BY maintenance_id
            """,
            {"now": now, "over": over},
        )
        return [_endless(one) for one in cursor]


def _endless(one: Maintenance) -> Maintenance:
    """Hours that are the whole week have no end but that of the maintenance; the database looks a few days
    ahead."""
    if one.weekly is None or not is_whole_week(parse_weekly(one.weekly)):
        return one
    begins = None if one.starts_at is None and one.active else one.starts_at or one.begins
    return replace(one, begins=begins, until=one.ends_at, always=True)


def skipped(connection: Connection[Any], now: datetime) -> set[int]:
    """The systems that are not to be measured now."""
    rows = connection.execute(
        "SELECT system_id FROM labmon_under_maintenance(%(now)s, %(now)s) WHERE mode = 'skip'", {"now": now}
    )
    return {row[0] for row in rows}


def closed(connection: Connection[Any], now: datetime) -> set[int]:
    """The systems that are off by their timetable, not down: in the weekly hours of any maintenance."""
    rows = connection.execute(
        "SELECT system_id FROM labmon_under_maintenance(%(now)s, %(now)s) WHERE weekly IS NOT NULL",
        {"now": now},
    )
    return {row[0] for row in rows}
