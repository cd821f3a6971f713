"""The headers of AMQP messages: labmon's own names, and those of other programs, which hold anything.

What another program sent is bounded here before it is believed, shown or sent on. None of these functions
raises for a value.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

ROUTING_KEY = "x-labmon-routing-key"  #: where the message did not travel by it
ATTEMPT = "x-labmon-attempt"
LANE = "x-labmon-lane"
REASON = "x-labmon-reason"
ERROR = "x-labmon-error"
DIED_AT = "x-labmon-died-at"
ENQUEUED_AT = "timestamp_in_ms"
OWN = (ATTEMPT, LANE, REASON, ERROR, DIED_AT, ROUTING_KEY)

LONGEST_TEXT = 4000
"""Characters of a reason, an error or a routing key in a header: all have to fit into one frame."""

DEEPEST = 8
"""Tables and lists inside each other that are sent on."""

MOST_ATTEMPTS = 2**31 - 1
"""A count above this is none: the largest one an AMQP header has room for cannot be counted on."""

_SERVERS = ("x-death", "x-first-death", "x-last-death", "x-delivery-count", "x-acquired-count")
_ROUTE = ("CC", "BCC")  # RabbitMQ would send the copy there too


def whole(value: object) -> int | None:
    """A number that counts something, or None."""
    return int(value) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def attempts(value: object) -> int | None:
    """How often a message was delivered, or None."""
    count = whole(value)
    return count if count is not None and count <= MOST_ATTEMPTS else None


def moment(value: object, per_second: int) -> datetime | None:
    """A time, or None. Milliseconds are often put where seconds belong."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    count = whole(value)
    if count is None:
        return None
    seconds = count / per_second
    try:
        return datetime.fromtimestamp(seconds if seconds < 1e11 else seconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def text(value: object) -> str:
    """A value to be shown. A table may be nested deeper than it can be printed, so only its kind is named."""
    match value:
        case str():
            return value
        case bytes():
            return value.decode(errors="replace")
        case None | bool() | int() | float() | Decimal() | datetime():
            return str(value)
    return f"({type(value).__name__})"


def routing_key(headers: Mapping[Any, Any]) -> str | None:
    """The key by which labmon published a message that did not travel by it."""
    key = headers.get(ROUTING_KEY)
    return key if isinstance(key, str) and len(key) <= LONGEST_TEXT else None


def storable(value: str) -> str:
    """Text for a header: cut, and half of a surrogate pair written out."""
    return value[:LONGEST_TEXT].encode(errors="backslashreplace").decode()


def sent_on(headers: Mapping[Any, Any], *, fresh: bool) -> dict[str, Any]:
    """Those of another program that a copy of its message keeps. A `fresh` one is a new message to labmon."""
    left = _ROUTE + (OWN if fresh else ())
    return {
        name: value
        for name, value in headers.items()
        if isinstance(name, str) and not name.startswith(_SERVERS) and name not in left and _is_flat(value)
    }


def _is_flat(value: object, depth: int = DEEPEST) -> bool:
    """True where nothing is nested so deep that pika might fail to write it."""
    match value:
        case dict():
            return depth > 0 and all(_is_flat(one, depth - 1) for one in value.values())
        case list():
            return depth > 0 and all(_is_flat(one, depth - 1) for one in value)
    return True
