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

from pika.exceptions import AMQPError
from pika.spec import BasicProperties

from labmon.brokers.base import DeadLetter, Message
from labmon.brokers.rabbitmq import headers as h
from labmon.brokers.rabbitmq.fast_frames import LARGEST_HEADERS
from labmon.errors import BrokerRefused

HIGH = ".high"
DEAD = ".dead"

SHORT = 255
"""Bytes that AMQP has for an id or a routing key."""

HEADER_COST = 16
"""Bytes of memory for each byte of headers, about: they become many small objects."""


class OutgoingMessage(NamedTuple):
    """A message to be published, and where to."""

    exchange: str
    routing_key: str
    properties: BasicProperties
    body: bytes


class IncomingMessage(NamedTuple):
    """What the server hands over."""

    method: Any
    properties: BasicProperties
    body: bytes

    @property
    def headers(self) -> Mapping[Any, Any]:
        return self.properties.headers or {}

    @property
    def cost(self) -> int:
        """Bytes of memory that it holds, about."""
        return len(self.body) + HEADER_COST * getattr(self.properties, "size", 0)

    def message(self, *, high: bool) -> Message:
        """As the contract has it. A message without an id gets one that it has again the next time."""
        key = h.routing_key(self.headers)
        if key is None:
            # Through the default exchange a message travels by the name of its queue.
            key = self.method.routing_key if self.method.exchange else ""
            if not isinstance(key, str):
                key = h.text(key)
        return Message(self._id(key), self.body, key, high)

    def attempt(self) -> int:
        """1 the first time. A classic queue does not count, it only knows the first time from the others."""
        before = h.attempts(self.headers.get(h.ATTEMPT)) or 0
        count = h.attempts(self.headers.get("x-delivery-count"))
        return min(before + (int(self.method.redelivered) if count is None else count) + 1, h.MOST_ATTEMPTS)

    def is_counted(self) -> bool:
        """False when only a copy can carry another attempt."""
        return not self.method.redelivered or "x-delivery-count" in self.headers

    def enqueued_at(self) -> datetime | None:
        """By the server's clock, or the producer's. None where neither said."""
        return h.moment(self.headers.get(h.ENQUEUED_AT), 1000) or h.moment(self.properties.timestamp, 1)

    def dead_letter(self, queue: str) -> DeadLetter:
        """One from the dead letters: rejected by labmon, by the server, or put there by anyone."""
        deaths = self.headers.get("x-death")
        death = deaths[0] if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict) else {}
        high = self.headers.get(h.LANE, death.get("queue")) in ("high", queue + HIGH)
        message = self.message(high=high)
        keys = death.get("routing-keys")
        if death.get("exchange") and isinstance(keys, list) and keys and isinstance(keys[0], str):
            message = Message(message.id, message.body, keys[0], high)
        enqueued_at, now = self.enqueued_at(), datetime.now(UTC)
        died = h.moment(self.headers.get(h.DIED_AT), 1000) or h.moment(death.get("time"), 1)
        return DeadLetter(
            message,
            h.text(self.headers.get(h.REASON, death.get("reason", "unknown"))),
            h.text(self.headers.get(h.ERROR, "")),
            h.attempts(self.headers.get(h.ATTEMPT)) or 0,
            died or enqueued_at or now,
            enqueued_at,
        )

    def dead_copy(
        self, queue: str, *, high: bool, attempt: int, reason: str, error: str, now: float
    ) -> OutgoingMessage:
        """For the dead letters of the queue."""
        message = self.message(high=high)
        headers = {
            h.ATTEMPT: attempt,
            h.LANE: "high" if high else "normal",
            h.REASON: h.storable(reason),
            h.ERROR: h.storable(error),
            h.DIED_AT: int(now * 1000),
            h.ROUTING_KEY: message.routing_key,
        }
        return self._copy(queue + DEAD, message.id, headers)

    def unread_copy(self, queue: str, *, high: bool, error: str, now: float) -> OutgoingMessage:
        """For the dead letters, of a message that labmon fails to make sense of: the body and the reason."""
        headers = {
            h.LANE: "high" if high else "normal",
            h.REASON: "unreadable",
            h.ERROR: h.storable(error),
            h.DIED_AT: int(now * 1000),
        }
        id = hashlib.blake2b(self.body, digest_size=16).hexdigest()
        properties = BasicProperties(headers=headers, delivery_mode=2, message_id=id)
        return OutgoingMessage("", queue + DEAD, properties, self.body)

    def retry_copy(self, lane: str, *, attempt: int) -> OutgoingMessage:
        """A copy for the lane it came from, which remembers this attempt."""
        message = self.message(high=False)
        return self._copy(lane, message.id, {h.ATTEMPT: attempt, h.ROUTING_KEY: message.routing_key})

    def requeued(self, dead: DeadLetter, queue: str, *, now: float) -> OutgoingMessage:
        """A dead letter as a new message, straight to the lane it came from and to no other queue."""
        lane = queue + HIGH if dead.message.high else queue
        headers: dict[str, Any] = {h.ENQUEUED_AT: int(now * 1000)}
        if dead.message.routing_key:
            headers[h.ROUTING_KEY] = dead.message.routing_key
        return self._copy(lane, dead.message.id, headers, sent_at=int(now))

    def _copy(
        self, lane: str, id: str, headers: dict[str, Any], *, sent_at: int | None = None
    ) -> OutgoingMessage:
        """Sent now (`sent_at`) it is a new message, otherwise the same one again.

        What cannot be sent on of another program's properties is left out, since the body matters more.
        """
        old, fresh = self.properties, sent_at is not None
        properties = BasicProperties(
            content_type=old.content_type,
            content_encoding=old.content_encoding,
            headers=h.sent_on(self.headers, fresh=fresh) | headers,
            delivery_mode=2,
            priority=old.priority,
            correlation_id=old.correlation_id,
            reply_to=old.reply_to,
            message_id=id,
            timestamp=sent_at if fresh else old.timestamp,
            type=old.type,
            app_id=old.app_id,
            # Not `expiration`, which would empty the dead letters, nor `user_id`, which must be our own.
        )
        if not _fit(properties):
            properties.headers = headers
        if not _fit(properties):
            properties = BasicProperties(headers=headers, delivery_mode=2, message_id=id)
        return OutgoingMessage("", lane, properties, self.body)

    def _id(self, key: str) -> str:
        given = self.properties.message_id or ""
        if not isinstance(given, str):
            given = h.text(given)
        if given and len(given.encode()) <= SHORT:
            return given
        digest = hashlib.blake2b(key.encode(errors="replace"), digest_size=16)
        digest.update(self.body)
        return digest.hexdigest()


def new_message(message: Message, exchange: str, lane: str, now: float) -> OutgoingMessage:
    """To an exchange by the message's own key; straight to the lane with "", or when the key is too long.

    Raises BrokerRefused for an id or a key that AMQP cannot carry.
    """
    headers: dict[str, Any] = {h.ENQUEUED_AT: int(now * 1000)}
    key = message.routing_key
    try:
        if len(message.id.encode()) > SHORT:
            raise BrokerRefused(f"RabbitMQ: the id {message.id[:20]}... is longer than {SHORT} bytes")
        straight = len(key.encode()) > SHORT or not exchange
    except UnicodeEncodeError as error:
        raise BrokerRefused(f"RabbitMQ: an id or routing key is no text: {error.reason}") from error
    if len(key) > h.LONGEST_TEXT:
        raise BrokerRefused(
            f"RabbitMQ: the routing key {key[:20]}... is longer than {h.LONGEST_TEXT} characters"
        )
    if straight and key:
        headers[h.ROUTING_KEY] = key
    properties = BasicProperties(
        content_type="application/json",
        headers=headers,
        delivery_mode=2,
        message_id=message.id,
        timestamp=int(now),
    )
    return OutgoingMessage("" if straight else exchange, lane if straight else key, properties, message.body)


def _fit(properties: BasicProperties) -> bool:
    """True when pika can write them, and a frame can hold them."""
    try:
        return sum(map(len, properties.encode())) <= LARGEST_HEADERS
    except (AMQPError, ValueError, ArithmeticError, struct.error):  # pika reads more values than it writes
        return False


def matches(pattern: str, routing_key: str) -> bool:
    """True when a topic exchange routes the key by the binding's pattern, of `*` and a last `#`."""
    words, keys = pattern.split("."), routing_key.split(".")
    if words[-1] == "#":
        words.pop()
        keys = keys[: len(words)]
    return len(words) == len(keys) and all(word in ("*", key) for word, key in zip(words, keys, strict=True))
