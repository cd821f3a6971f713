"""When labs are open: the weekly hours of their maintenance, turned round.

All of it is the time of the clock on the wall, in minutes since Monday 00:00: the same in winter and summer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from labmon.store.inventory.maintenance import Hours, Maintenance

DAY = 24 * 60
WEEK = 7 * DAY
NAMES = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

Span = tuple[int, int]
"""First minute of the week, and the first one after it; beyond WEEK where it goes over Sunday's midnight."""


@dataclass(frozen=True)
class Opening:
    """When a lab is open."""

    is_open: bool
    hours: str  #: "Mon-Fri 08:00-18:00"; "" where there is no timetable
    timezone: str | None
    changes_at: datetime | None  #: when it closes, or opens again; None where it never does


def opening(closures: Sequence["Maintenance"], now: datetime) -> Opening:
    """When a lab is open to which these apply; only weekly ones that hold now count.

    Hours in several time zones are read in the first one's, as far apart as they are now.
    """
    weekly = [
        one
        for one in closures
        if one.weekly and (one.starts_at or now) <= now and (one.ends_at is None or now < one.ends_at)
    ]
    if not weekly:
        return Opening(True, "", None, None)
    zone = ZoneInfo(weekly[0].timezone or "UTC")
    wall = now.astimezone(zone)
    closed: list[Span] = []
    for one in weekly:
        closed += _spans(one.weekly or "", _ahead(one.timezone, wall))
    spans = opened(closed)
    minute = wall.weekday() * DAY + wall.hour * 60 + wall.minute
    is_open, change = _next_change(spans, minute)
    at = None
    if change is not None:
        midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=wall.weekday())
        at = midnight + timedelta(minutes=change)  # of the wall: zoneinfo adds to what the clock shows
    return Opening(is_open, text(spans), str(zone), at)


def _ahead(timezone: str | None, wall: datetime) -> int:
    """Minutes that the clock of `wall` is ahead of this zone's."""
    other = wall.astimezone(ZoneInfo(timezone or "UTC")).utcoffset() or timedelta()
    return round(((wall.utcoffset() or timedelta()) - other).total_seconds() / 60)


def _spans(weekly: str, ahead: int) -> list[Span]:
    from labmon.store.inventory.maintenance import parse_weekly

    return [_span(hours, ahead) for hours in parse_weekly(weekly)]


def _span(hours: "Hours", ahead: int) -> Span:
    weekday, starts, days, ends = hours
    begin = (weekday - 1) * DAY + _minutes(starts)
    length = days * DAY + _minutes(ends) - _minutes(starts)
    begin = (begin + ahead) % WEEK
    return begin, begin + length


def _minutes(time: str) -> int:
    hour, minute = time.split(":")
    return int(hour) * 60 + int(minute)


def opened(closed: Sequence[Span]) -> list[Span]:
    """What is left of a week, in order; a span that goes over Sunday's midnight is one, and the last."""
    marks = sorted((begin + shift, end + shift) for begin, end in closed for shift in (-WEEK, 0, WEEK))
    found: list[Span] = []
    at = -WEEK
    for begin, end in marks:
        if begin > at:
            found.append((at, begin))
        at = max(at, end)
    return [(begin, end) for begin, end in found if 0 <= begin < WEEK]


def _next_change(spans: Sequence[Span], minute: int) -> tuple[bool, int | None]:
    """Whether it is open, and when that ends, in minutes of this week."""
    for begin, end in spans:
        for shift in (-WEEK, 0):
            if begin + shift <= minute < end + shift:
                return True, end + shift
    later = [begin + shift for begin, _ in spans for shift in (0, WEEK) if begin + shift > minute]
    return False, min(later, default=None)


def text(spans: Sequence[Span]) -> str:
    """The hours as people write them: "Mon-Fri 08:00-18:00, Sat 09:00-12:00"; "closed" for none."""
    by_hours: dict[str, list[int]] = {}
    for begin, end in spans:
        while begin < end:
            midnight = (begin // DAY + 1) * DAY
            until = end if end - begin < DAY else min(end, midnight)
            hours = f"{_clock(begin % DAY)}-{_clock((until - 1) % DAY + 1)}"
            by_hours.setdefault(hours, []).append(begin // DAY % 7)
            begin = until
    parts = [
        (days[0], days[-1], hours) for hours, every in by_hours.items() for days in _runs(sorted(set(every)))
    ]
    words = [
        f"{_days(first, last)} {hours}".replace(" 00:00-24:00", "") for first, last, hours in sorted(parts)
    ]
    return ", ".join(words) or "closed"


def _runs(days: list[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for day in days:
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    return runs


def _days(first: int, last: int) -> str:
    return NAMES[first] if first == last else f"{NAMES[first]}-{NAMES[last]}"


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
