"""How labmon's messages look as AMQP messages, and what is made of those that other programs send.

A message needs a body and nothing else. labmon sets the properties `message_id` and `timestamp`, and the
header `timestamp_in_ms`, which RabbitMQ's own message interceptor sets too, by its clock, where that is
switched on.
"""

import hashlib
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pika import spec
from pika.exceptions import AMQPError
from pika.spec import BasicProperties

from labmon.brokers.base import DeadLetter, Message
from labmon.errors import BrokerRefused

HIGH = ".high"
DEAD = ".dead"

SHORT = 255
"""Bytes that AMQP has for an id or a routing key."""

ROUTING_KEY = "x-labmon-routing-key"  #: where the message did not travel by it
ATTEMPT = "x-labmon-attempt"
LANE = "x-labmon-lane"
REASON = "x-labmon-reason"
ERROR = "x-labmon-error"
DIED_AT = "x-labmon-died-at"
ENQUEUED_AT = "timestamp_in_ms"

LONGEST_TEXT = 4000
"""Characters of a reason or an error: all headers have to fit into one frame."""

LARGEST_HEADERS = 100_000
"""Bytes. A frame has 131,072."""

_SERVERS = ("x-death", "x-first-death", "x-last-death", "x-delivery-count", "x-acquired-count")
_ROUTE = ("CC", "BCC")  # RabbitMQ would send the copy there too


class Letter(NamedTuple):
    """A message to be published, and where to."""

    exchange: str
    routing_key: str
    properties: BasicProperties
    body: bytes


class Received(NamedTuple):
    """What the server hands over."""

    method: Any
    properties: BasicProperties
    body: bytes

    @property
    def headers(self) -> Mapping[Any, Any]:
        return self.properties.headers or {}

    def message(self, *, high: bool) -> Message:
        """As the contract has it. A message without an id gets one that it has again the next time."""
        key = self.headers.get(ROUTING_KEY)
        if not isinstance(key, str):
            # Through the default exchange a message travels by the name of its queue.
            key = self.method.routing_key if self.method.exchange else ""
        return Message(self._id(key), self.body, _text(key), high)

    def attempt(self) -> int:
        """1 the first time. A classic queue does not count, it only knows the first time from the others."""
        before = _whole(self.headers.get(ATTEMPT)) or 0
        count = _whole(self.headers.get("x-delivery-count"))
        return before + (int(self.method.redelivered) if count is None else count) + 1

    def is_counted(self) -> bool:
        """False when only a copy can carry another attempt."""
        return not self.method.redelivered or "x-delivery-count" in self.headers

    def enqueued_at(self) -> datetime | None:
        """By the server's clock, or the producer's. None where neither said."""
        return _moment(self.headers.get(ENQUEUED_AT), 1000) or _moment(self.properties.timestamp, 1)

    def dead_letter(self, queue: str) -> DeadLetter:
        """One from the dead letters: rejected by labmon, by the server, or put there by anyone."""
        deaths = self.headers.get("x-death")
        death = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}
        high = self.headers.get(LANE, death.get("queue")) in ("high", queue + HIGH)
        message = self.message(high=high)
        keys = death.get("routing-keys")
        if death.get("exchange") and isinstance(keys, list) and keys and isinstance(keys[0], str):
            message = Message(message.id, message.body, keys[0], high)
        enqueued_at, now = self.enqueued_at(), datetime.now(UTC)
        died = _moment(self.headers.get(DIED_AT), 1000) or _moment(death.get("time"), 1)
        return DeadLetter(
            message,
            _text(self.headers.get(REASON, death.get("reason", "unknown"))),
            _text(self.headers.get(ERROR, "")),
            _whole(self.headers.get(ATTEMPT)) or 0,
            died or enqueued_at or now,
            enqueued_at,
        )

    def dead_copy(
        self, queue: str, *, high: bool, attempt: int, reason: str, error: str, now: float
    ) -> Letter:
        """For the dead letters of the queue."""
        message = self.message(high=high)
        headers = {
            ATTEMPT: attempt,
            LANE: "high" if high else "normal",
            REASON: _storable(reason),
            ERROR: _storable(error),
            DIED_AT: int(now * 1000),
            ROUTING_KEY: message.routing_key,
        }
        return self._copy(queue + DEAD, message.id, headers)

    def once_more(self, lane: str, *, attempt: int) -> Letter:
        """A copy for the lane it came from, which remembers this attempt."""
        message = self.message(high=False)
        return self._copy(lane, message.id, {ATTEMPT: attempt, ROUTING_KEY: message.routing_key})

    def revived(self, dead: DeadLetter, queue: str, *, now: float) -> Letter:
        """A dead letter as a new message, straight to the lane it came from and to nobody else."""
        lane = queue + HIGH if dead.message.high else queue
        headers: dict[str, Any] = {ENQUEUED_AT: int(now * 1000)}
        if dead.message.routing_key:
            headers[ROUTING_KEY] = dead.message.routing_key
        letter = self._copy(lane, dead.message.id, headers, fresh=True)
        letter.properties.timestamp = int(now)
        return letter

    def _copy(self, lane: str, id: str, headers: dict[str, Any], *, fresh: bool = False) -> Letter:
        own = (ATTEMPT, LANE, REASON, ERROR, DIED_AT, ROUTING_KEY) if fresh else ()
        kept = {
            name: value
            for name, value in self.headers.items()
            if isinstance(name, str) and not name.startswith(_SERVERS) and name not in _ROUTE + own
        }
        old = self.properties
        properties = BasicProperties(
            content_type=old.content_type,
            content_encoding=old.content_encoding,
            headers=kept | headers,
            delivery_mode=2,
            priority=old.priority,
            correlation_id=old.correlation_id,
            reply_to=old.reply_to,
            message_id=id,
            timestamp=old.timestamp,
            type=old.type,
            app_id=old.app_id,
            # Not `expiration`, which would empty the dead letters, nor `user_id`, which must be our own.
        )
        try:
            fits = sum(map(len, properties.encode())) <= LARGEST_HEADERS
        except (AMQPError, ValueError, struct.error):  # pika reads more kinds of values than it writes
            fits = False
        if not fits:
            properties.headers = headers
        return Letter("", lane, properties, self.body)

    def _id(self, key: object) -> str:
        given = _text(self.properties.message_id or "")
        if given and len(given.encode()) <= SHORT:
            return given
        digest = hashlib.blake2b(str(key).encode(errors="replace"), digest_size=16)
        digest.update(self.body)
        return digest.hexdigest()


def new_letter(message: Message, exchange: str, lane: str, now: float) -> Letter:
    """To an exchange by the message's own key; straight to the lane with "", or when the key is too long.

    Raises BrokerRefused for an id that AMQP cannot carry.
    """
    headers: dict[str, Any] = {ENQUEUED_AT: int(now * 1000)}
    key = message.routing_key
    try:
        if len(message.id.encode()) > SHORT:
            raise BrokerRefused(f"RabbitMQ: the id {message.id[:20]}... is longer than {SHORT} bytes")
        straight = len(key.encode()) > SHORT or not exchange
    except UnicodeEncodeError as error:
        raise BrokerRefused(f"RabbitMQ: an id or routing key is no text: {error.reason}") from error
    if straight and key:
        headers[ROUTING_KEY] = key
    properties = BasicProperties(
        content_type="application/json",
        headers=headers,
        delivery_mode=2,
        message_id=message.id,
        timestamp=int(now),
    )
    return Letter("" if straight else exchange, lane if straight else key, properties, message.body)


def matches(pattern: str, routing_key: str) -> bool:
    """True when a topic exchange sends the key to whoever is bound by the pattern, of `*` and a last `#`."""
    words, keys = pattern.split("."), routing_key.split(".")
    if words[-1] == "#":
        words.pop()
        keys = keys[: len(words)]
    return len(words) == len(keys) and all(word in ("*", key) for word, key in zip(words, keys, strict=True))


def _moment(value: object, per_second: int) -> datetime | None:
    """A time, where the value is one. Milliseconds are often put where seconds belong."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    whole = _whole(value)
    if whole is None:
        return None
    seconds = whole / per_second
    try:
        return datetime.fromtimestamp(seconds if seconds < 1e11 else seconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _text(value: object) -> str:
    """Headers are what their sender made them."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _storable(text: str) -> str:
    return text[:LONGEST_TEXT].encode(errors="backslashreplace").decode()


class _Properties(BasicProperties):  # type: ignore[misc]
    """Loses the headers that pika cannot read, such as a date in the year 50000, and not the connection.

    pika's error would end the connection, and come again with the message when it is delivered again.
    """

    def decode(self, encoded: bytes, offset: int = 0) -> Any:
        try:
            return super().decode(encoded, offset)
        except (AMQPError, ValueError, OverflowError, OSError, struct.error):
            flags = int.from_bytes(encoded[offset : offset + 2], "big")
            table = offset + 2
            for flag in (self.FLAG_CONTENT_TYPE, self.FLAG_CONTENT_ENCODING):
                if flags & flag:
                    table += 1 + encoded[table]
            end = table + 4 + int.from_bytes(encoded[table : table + 4], "big")
            without = (flags & ~self.FLAG_HEADERS).to_bytes(2, "big")
            return super().decode(without + encoded[offset + 2 : table] + encoded[end:])


spec.props[BasicProperties.INDEX] = _Properties
