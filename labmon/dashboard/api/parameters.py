"""Parameters that several routes share: times, pages, texts of people."""

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from labmon.dashboard.web import Problem

LARGEST = 2**31 - 1
LARGEST_ALERT = 2**63 - 1


Id = Annotated[int, Path(ge=1, le=LARGEST)]
SystemId = Annotated[int, Path(ge=1, le=LARGEST)]
LabId = Annotated[int, Path(ge=1, le=LARGEST)]
Limit = Annotated[int, Query(ge=1, le=500, description="Maximum number of rows.")]
After = Annotated[str | None, Query(max_length=200, description="`next` of the page before.")]
Ids = Annotated[
    list[Annotated[int, Field(ge=1, le=LARGEST_ALERT)]],
    Field(min_length=1, max_length=500),
]


class Body(BaseModel):
    """What every request's body is. Its text is Unicode without NUL and its numbers are finite: nothing else
    can be stored, or written in an answer. No key is unknown, and each value is of its own type."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _is_plain(cls, values: Any) -> Any:
        pending = [values]
        while pending:
            match pending.pop():
                case str() as text if _NOT_TEXT.search(text):
                    raise ValueError("it holds a NUL, or half a surrogate pair")
                case float() as number if not math.isfinite(number):
                    raise ValueError("it holds a number that is not finite")
                case dict() as found:
                    pending += [*found, *found.values()]
                case list() as found:
                    pending += found
        return values


_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
_NOT_IN_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _one_line(text: str) -> str:
    if _NOT_IN_A_LINE.search(text):
        raise ValueError("expected one line of text")
    return text


OneLine = Annotated[str, Field(min_length=1, max_length=253), AfterValidator(_one_line)]
"""A note: the reason, shown to others."""

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST = timedelta(days=3660)
"""Of a range of time: more than any reading is kept."""


def moment(text: str, name: str, now: datetime) -> datetime:
    """A time as seconds since 1970 or in ISO 8601, in UTC where it names no zone. Raises Problem 422."""
    try:
        at = _seconds(float(text)) if _is_number(text) else datetime.fromisoformat(text)
        at = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise Problem(
            422, f"{name}: expected seconds since 1970, or a time such as {now:%Y-%m-%dT%H:%MZ}"
        ) from None
    if not EARLIEST <= at <= now + LONGEST:
        raise Problem(422, f"{name}: {at:%Y-%m-%d} is too far away")
    return at


def period(first: str | None, past: str | None, now: datetime, usual: timedelta) -> tuple[datetime, datetime]:
    """From when until when; without an end until now, without a beginning for `usual`. Raises Problem 422."""
    end = moment(past, "to", now) if past else now
    begin = moment(first, "from", now) if first else end - usual
    if begin >= end:
        raise Problem(422, "from: it must be before `to`")
    if end - begin > LONGEST:
        raise Problem(422, f"from: a range is {LONGEST.days} days at most")
    return begin, end


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).removeprefix("-").isdecimal()


def _seconds(value: float) -> datetime:
    if not math.isfinite(value):
        raise ValueError
    return datetime.fromtimestamp(value, UTC)


T = TypeVar("T")


def position(after: str | None) -> tuple[datetime, int] | None:
    """The time and number that a page begins after. Raises Problem 422."""
    if after is None:
        return None
    time, _, number = after.partition("_")
    try:
        at = EARLIEST + timedelta(microseconds=int(time))
        place = int(number)
    except (ValueError, OverflowError):
        raise Problem(422, "after: expected `next` of the page before") from None
    if not 0 <= place <= LARGEST_ALERT:
        raise Problem(422, "after: expected `next` of the page before")
    return at, place


def page(rows: Sequence[T], limit: int, key: Callable[[T], tuple[datetime, int]]) -> dict[str, Any]:
    """The answer to a question for one row more than `limit`, the newest first: {items, next}."""
    items = rows[:limit]
    following = None
    if len(rows) > limit:
        at, number = key(items[-1])
        following = f"{(at - EARLIEST) // timedelta(microseconds=1)}_{number}"
    return {"items": items, "next": following}
