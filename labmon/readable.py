"""Durations, sizes and percentages as people read them."""

from datetime import UTC, date, datetime


def ago(moment: datetime) -> str:
    """The time since a moment, in its largest useful unit: "12 s", "5 min", "3 h", "8 d"."""
    return span((datetime.now(UTC) - moment).total_seconds())


def span(seconds: float) -> str:
    """A duration in its largest unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def volume(amount: int) -> str:
    """Bytes, in the largest useful unit."""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if amount >= 2 * least:
            return f"{amount / least:.0f} {unit}"
    return f"{amount} B"


def percent(value: float) -> str:
    """Whole percents: more digits of a sample of one second mean nothing."""
    return f"{value:.0f} %"


def shown(at: datetime | date) -> str:
    """For tables: local time; in the hour that a change of the clocks repeats, with its zone."""
    if not isinstance(at, datetime):
        return f"{at}"
    local = at.astimezone()
    return f"{local:%Y-%m-%d %H:%M:%S %Z}" if _is_repeated(local) else f"{local:%Y-%m-%d %H:%M:%S}"


def _is_repeated(local: datetime) -> bool:
    bare = local.replace(tzinfo=None)
    return bare.replace(fold=0).astimezone().utcoffset() != bare.replace(fold=1).astimezone().utcoffset()


def plural(count: int, noun: str, many: str = "") -> str:
    """A count with its noun: "1 reading", "2,000 readings"; `many` where the plural is not made by an s."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"
