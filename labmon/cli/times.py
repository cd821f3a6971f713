"""Times and durations as people write them on the command line."""

import os
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from labmon.config.units import Seconds
from labmon.errors import UsageError
from labmon.readable import shown


def moment(text: str) -> datetime:
    """A date and time, one of them, `now`, `yesterday 08:00`, or how long ago ("2h", "1w").

    Without a zone: local time. Raises UsageError.
    """
    words = " ".join(text.casefold().split())
    if re.fullmatch(r"[\d.]+", words) and len(words) != len("20260301"):
        raise UsageError(
            f"{text!r} has no unit: for how long ago write {words}m, {words}h, {words}d or {words}w"
        )
    try:
        if words == "now":
            return datetime.now(UTC)
        if re.fullmatch(r"[\d.]+\s*[smhdw]", words):
            return datetime.now(UTC) - timedelta(seconds=Seconds.parse(words))
        if day := re.fullmatch(r"(?:(today|yesterday)(?: |$))?(\d\d:\d\d(?::\d\d)?)?", words):
            at_day = date.today() - timedelta(days=day[1] == "yesterday")
            text = f"{at_day} {day[2] or '00:00'}" if words else ""
        at = datetime.fromisoformat(text.strip())
        if re.fullmatch(r"[\dW-]+", text.strip()):  # a day: its first moment, wherever the clocks are changed
            return datetime.fromtimestamp(at.timestamp(), UTC)
        _check_exists(at)
        _check_once(at)
        return at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f'{text!r} is not a time, such as 2026-03-01, "2026-03-01 14:30", 2026-03-01T14:30Z, 14:30 '
            '(today), "yesterday 08:00", now, or 2h (two hours ago; also m, d, w)'
        ) from error


def _check_exists(at: datetime) -> None:
    """Raise UsageError for a local time in the hour that a change of the clocks leaves out."""
    if at.tzinfo is not None or at.astimezone(UTC).astimezone().replace(tzinfo=None) == at:
        return
    offsets = [at.replace(fold=fold).astimezone().utcoffset() or timedelta() for fold in (0, 1)]
    moment = at.replace(tzinfo=UTC) - max(offsets)  # before the change, by at most its length
    while moment.astimezone().utcoffset() == min(offsets):
        moment += timedelta(minutes=1) - timedelta(seconds=moment.second, microseconds=moment.microsecond)
    first, past = (moment.replace(tzinfo=None) + one for one in (min(offsets), max(offsets)))
    raise UsageError(
        f"{at:%Y-%m-%d %H:%M} does not exist: the clocks go from {first:%H:%M} to {past:%H:%M} on that day. "
        "Choose a time before or after, or give its zone, such as 2026-03-01T14:30Z"
    )


def _check_once(at: datetime) -> None:
    """Raise UsageError for a local time that comes twice, since the clocks are put back after it."""
    if at.tzinfo is not None:
        return
    first, second = (at.replace(fold=fold).astimezone() for fold in (0, 1))
    if first.utcoffset() != second.utcoffset():
        raise UsageError(
            f"{at:%Y-%m-%d %H:%M} comes twice on that day, since the clocks are put back. Say which one: "
            f"{_with_offset(first)} is the first, {_with_offset(second)} the second"
        )


def _with_offset(at: datetime) -> str:
    return at.isoformat(timespec="seconds" if at.second or at.microsecond else "minutes")


def period(begin: str | None, end: str | None) -> tuple[datetime | None, datetime | None]:
    """The times of --from and --to, None if absent. Raises UsageError where nothing is between them."""
    first = None if begin is None else moment(begin)
    past = None if end is None else moment(end)
    if first is not None and first >= (past or datetime.now(UTC)):
        raise UsageError(f"--from {shown(first)} is not before --to {'now' if past is None else shown(past)}")
    return first, past


def unknown_zone() -> str:
    """TZ of the environment where the C library does not know it and takes UTC; else an empty text."""
    name = os.environ.get("TZ", "").removeprefix(":")
    rule = re.match(r"([A-Za-z]{3,}|<[\w+-]{3,}>)[+-]?\d", name, re.ASCII)  # CET-1CEST,M3.5.0
    if not name or rule or name in ("UTC", "GMT"):
        return ""
    file = Path(os.environ.get("TZDIR", "/usr/share/zoneinfo"), name)
    try:
        return "" if file.is_file() else name
    except (OSError, ValueError):
        return name


def with_unit(text: str | None) -> str | None:
    """A duration as an option has it. Raises UsageError for a number without a unit, but 0."""
    if text is None or not re.fullmatch(r"[\d.]+", text.strip()) or not text.strip("0. "):
        return text
    text = text.strip()
    raise UsageError(f"{text!r} has no unit: write {text}s, {text}m, {text}h or {text}d")


def duration(text: str, option: str) -> timedelta:
    """A duration of more than nothing. Raises UsageError, which names the option."""
    try:
        seconds = Seconds.parse(text)
    except ValueError as error:
        raise UsageError(f"{option} {text!r}: {error}") from error
    if not seconds:
        raise UsageError(f"{option} {text!r}: expected more than 0")
    return timedelta(seconds=seconds)
