"""How a queue looks on the server: its keys, and the fields of its entries.

    metrics_queue          a stream, the normal lane     `redis-cli XLEN metrics_queue` is its depth
    metrics_queue.high     a stream, the high lane
    metrics_queue.dead     a stream, the dead letters

Each lane has the consumer group `labmon`. Settled entries are deleted. What was given back is pending for the
consumer `released` of the group, where everybody looks for it first. Anyone may add an entry, with no more
than the field `body`: `redis-cli XADD metrics_queue '*' body '{...}'`.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from labmon.brokers.base import DeadLetter, Message

GROUP = "labmon"
RELEASED = "released"


def lane(queue: str, high: bool) -> str:
    """The key of one of its lanes."""
    return f"{queue}.high" if high else queue


def dead(queue: str) -> str:
    """The key of its dead letters."""
    return f"{queue}.dead"


def fields(flat: Sequence[Any]) -> dict[bytes, Any]:
    """What the server gives as name, value, name, value."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def text(value: bytes) -> str:
    """Text of unknown origin, which may be none."""
    return value.decode(errors="backslashreplace")


def storable(value: str) -> bytes:
    """The way back; half of a surrogate pair is written out."""
    return value.encode(errors="backslashreplace")


def milliseconds(entry_id: bytes) -> int:
    """When the server added the entry, since the epoch."""
    return int(entry_id.partition(b"-")[0])


HIGHEST = b"18446744073709551615-18446744073709551615"
"""An entry's id behind which there is no other, and none can be added."""


def after(entry_id: bytes) -> bytes | None:
    """Where a range begins that leaves out this entry and all before it. None after the highest id."""
    return None if entry_id == HIGHEST else b"(" + entry_id


def moment(entry_id: bytes) -> datetime | None:
    """The same as a time; None for an id that another program chose and that is no time."""
    try:
        return datetime.fromtimestamp(milliseconds(entry_id) / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def message(entry_id: bytes, found: Mapping[bytes, bytes], *, high: bool) -> Message:
    """The message in an entry. Without an id it has the entry's; without a body, all fields are its body."""
    body = found.get(b"body")
    if body is None:
        body = json.dumps({text(name): text(value) for name, value in found.items()}).encode()
    return Message(text(found.get(b"id", entry_id)), body, text(found.get(b"key", b"")), high)


def addition(key: str, one: Message) -> tuple[str | bytes, ...]:
    """The command that adds the message to a lane. Its reply is None when the queue was not declared."""
    return ("XADD", key, "NOMKSTREAM", "*", "id", one.id, "key", one.routing_key, "body", one.body)


def dead_letter(entry_id: bytes, flat: Sequence[bytes]) -> DeadLetter:
    """The dead letter in an entry, whichever program added it."""
    found = fields(flat)
    attempt = found.get(b"attempt", b"")
    return DeadLetter(
        message=message(entry_id, found, high=found.get(b"high") == b"1"),
        reason=text(found.get(b"reason", b"")),
        error=text(found.get(b"error", b"")),
        attempt=int(attempt) if attempt.isdigit() and len(attempt) < 10 else 0,
        died_at=moment(entry_id) or datetime.now(UTC),
        enqueued_at=moment(found[b"entry"]) if b"entry" in found else None,
    )
