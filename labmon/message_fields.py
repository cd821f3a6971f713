"""The types of the fields of messages, with their bounds."""

from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import Meta
from msgspec.structs import force_setattr

# Bounds are those of the PostgreSQL columns, so that what decodes can be stored. \x00 cannot be stored
# as text at all, and other control characters would reach somebody's terminal.
Id = Annotated[int, Meta(ge=1, le=2**31 - 1)]
BigId = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Percent = Annotated[float, Meta(ge=0, le=100)]
Amount = Annotated[float, Meta(ge=0, le=1e15)]
Celsius = Annotated[float, Meta(ge=-273.15, le=1000)]
SMALLEST = 2.0**-149
"""The columns are `real`, which holds nothing between 0 and this; larger numbers are bounded above."""

Moment = Annotated[datetime, Meta(tz=True)]
"""RFC 3339. Also taken, though not written by labmon: an offset without a colon, as in +0900, and the 60th
second of the last minute of a UTC day, a leap second, which is stored as the end of its 59th. A message has
it in UTC, whatever offset it came with."""

LINE = 253
"""Characters of a `Line`."""

Line = Annotated[str, Meta(min_length=1, max_length=LINE, pattern=r"^[^\x00-\x1f\x7f]+$")]
Mac = Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}$")]


_ATTRIBUTES = {"timestamp": "at"}
"""Of fields that have another name in JSON."""


def settle_moments(message: Any) -> None:
    """Have a message's times, its `moments`, in UTC, and within what PostgreSQL and Python can hold: both
    stop somewhere, and PostgreSQL takes no offset of 16 hours or more, though RFC 3339 does. A clock
    of a machine never needs to go there."""
    for name, moment in message.moments.items():
        if moment.tzinfo is not UTC:
            try:
                moment = moment.astimezone(UTC)
            except OverflowError:
                raise ValueError(f"`{name}` is no time in UTC") from None
            force_setattr(message, _ATTRIBUTES.get(name, name), moment)
        if not 1970 <= moment.year <= 9000:
            raise ValueError(f"`{name}` is in the year {moment.year}")
