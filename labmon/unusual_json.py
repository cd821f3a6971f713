"""JSON as other programs write it: what is valid though unusual, and what exactly makes a text no JSON.

For the few messages that the fast decoder refuses.
"""

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

_MOMENTS = {"discovered_at", "started_at", "finished_at", "since", "checked_at", "collected_at", "timestamp"}
_LEAP_SECOND = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d):60(?:\.\d+)?(Z|[+-]\d\d:?\d\d)", re.IGNORECASE)


def as_schema_reads(value: Any, name: str = "", depth: int = 2) -> Any:
    """What the JSON Schema allows and the decoder does not: 5.0 is an integer, and time has leap seconds.

    Objects deeper than a message has them stay as they are.
    """
    if isinstance(value, dict) and depth:
        return {key: as_schema_reads(one, key, depth - 1) for key, one in value.items()}
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**63:
        return int(value)
    if name in _MOMENTS and isinstance(value, str) and (found := _LEAP_SECOND.fullmatch(value)):
        return _without_leap_second(f"{found[1]}:59.999999{found[2]}".upper()) or value
    return value


def _without_leap_second(text: str) -> datetime | None:
    """The moment; None unless it is in the last minute of a UTC day, which may have 61 seconds."""
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if (moment.hour, moment.minute) == (23, 59) else None


def culprit(body: bytes) -> str:
    """The value that makes a body no JSON, with its path; "" where the whole text is none.

    Python's reader takes more than JSON allows, so that what is wrong can be found in its result.
    """
    try:
        found = json.loads(body.decode(errors="surrogateescape"))
    except (ValueError, RecursionError):
        return ""
    for path, value in _leaves(found):
        if isinstance(value, float) and not math.isfinite(value):
            return f"{value} is no number - at `{path}`"
        if isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                what = "bytes that are no UTF-8"
                if not "\udc80" <= value[error.start] <= "\udcff":
                    what = "half of a surrogate pair"
                return f"text with {what} - at `{path}`"
    return ""


def _leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """The values of a JSON text that hold no others, and the keys, each with its path."""
    waiting = [("$", value)]
    while waiting:
        path, one = waiting.pop()
        if isinstance(one, dict):
            waiting += [(f"{path}.{ascii(key)[1:-1]}", inner) for key, inner in one.items()]
            waiting += [(f"{path}.{ascii(key)[1:-1]}", key) for key in one]
        elif isinstance(one, list):
            waiting += [(f"{path}[{place}]", inner) for place, inner in enumerate(one)]
        else:
            yield path, one
