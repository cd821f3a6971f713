"""The contract of a broker: what every adapter promises, and all that its callers may rely on.

1. At least once: when `publish` has returned, the message is delivered until somebody settles it.
2. No promise of order, nor of once. Order is roughly arrival within a lane; the store ignores repeats.
3. One owner at a time: until settled, until the consumer or its connection is gone, until the lease ends.
4. Ack after the store's commit. Hence a stale ack is harmless: what it removes is already stored.
5. A batch may be settled in part; the rest stays owned.
6. `reject` loses nothing: the dead copy is durable before the original goes.
7. Adapters never sleep to retry and never retry. They raise `BrokerUnavailable` or `BrokerRefused`, and
   no other exception; worker and publisher own the waiting.
8. How many attempts are too many is the worker's rule, not the server's.
9. After `BrokerUnavailable` a consumer is finished: close it and ask its broker for another. The broker is
   not: its next call connects anew.
10. A queue that was not declared is refused, by every method, with a text that names `labmon setup-queues`.
"""

from abc import abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import uuid4

from labmon.closing import Closing
from labmon.errors import BrokerError


@dataclass(frozen=True, slots=True)
class Message:
    """What a producer hands over. `id` is the producer's: publish the same ids again when in doubt."""

    id: str
    body: bytes
    routing_key: str = ""
    high: bool = False  #: the high lane is served first, with a guaranteed share for the normal one

    @classmethod
    def new(cls, body: bytes, routing_key: str = "", *, high: bool = False) -> Self:
        """A message with a fresh random id."""
        return cls(uuid4().hex, body, routing_key, high)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One hand-over of a message to one consumer."""

    message: Message
    attempt: int  #: 1 the first time, then as high as the server can tell
    enqueued_at: datetime | None  #: by the server's clock, or the producer's; None where neither said
    expired: bool  #: older than the `ttl` the broker was opened with: reject it as "expired", unhandled
    tag: Any  #: the adapter's; opaque to everyone else


Ids = Collection[str] | None
"""The ids of messages; None for whichever."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that somebody has to look at."""

    message: Message
    reason: str  #: a short word or sentence, such as "undecodable" or "expired"
    error: str  #: the details; may be empty
    attempt: int  #: how often it had been delivered
    died_at: datetime
    enqueued_at: datetime | None


@dataclass(frozen=True, slots=True)
class Depth:
    """A queue at about this moment, lanes added up. None means that this server cannot say."""

    ready: int  #: could be delivered now
    ready_high: int | None  #: of these, in the high lane
    in_flight: int | None  #: delivered, not settled
    dead: int
    consumers: int | None
    oldest_age_seconds: float | None  #: seconds since the oldest waiting message was enqueued; 0 when empty


HELD_BYTES = 2**24
"""Bytes of messages that a consumer holds, about: with more it receives none until some are settled. One
message may be larger. Each lane counts for itself where the server keeps them apart."""


class LaneShare:
    """How a consumer divides a full batch between the lanes, so that neither waits for the other for ever.

    Out of four messages one is kept for the normal lane. The fractions of small batches are saved up: with
    batches of one, every fourth is from the normal lane.
    """

    NORMAL = 0.25

    def __init__(self) -> None:
        self._owed = 0.0

    def keep(self, limit: int) -> int:
        """How many of the next `limit` are for the normal lane, if it has that many. Then call `took`."""
        self._owed += limit * self.NORMAL
        return int(self._owed)

    def took(self, normal: int) -> None:
        """How many came from the normal lane. A lane that had fewer than were kept for it is owed nothing."""
        enough = normal >= int(self._owed)
        self._owed = max(0.0, self._owed - normal) if enough else 0.0


class Consumer(Closing):
    """Deliveries from one queue, both lanes. Every delivery is settled once: ack, release or reject.

    For one thread at a time. Settling what is no longer owned is quiet and has no effect on others.
    """

    @abstractmethod
    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        """Up to `limit` deliveries, high lane first, with the normal lane's share (`LaneShare`).

        Waits at most `timeout` seconds for the first and not at all for more. [] when none came, or when
        `prefetch` deliveries, or `HELD_BYTES` of them, are unsettled already.
        """

    @abstractmethod
    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Done, forget them. Call after the store has committed. Any subset, in any order, more than once."""

    @abstractmethod
    def release(self, deliveries: Sequence[Delivery], *, failed: bool = False) -> None:
        """Give them back; they return soon, at the latest when the lease ends.

        `failed=True` when handling them went wrong: that counts as an attempt on every server. Otherwise
        (shutdown, database away) it costs an attempt only where the server cannot help it.
        """

    @abstractmethod
    def reject(self, deliveries: Sequence[Delivery], reason: str, error: str = "") -> None:
        """Never again: move them to the dead letters, with the reason. Copied before removed."""

    @abstractmethod
    def close(self) -> None:
        """Release what is unsettled. Idempotent; never raises."""


class Broker(Closing):
    """Durable queues with at-least-once delivery. For one thread at a time; closes its consumers with it."""

    @abstractmethod
    def declare(self, queue: str) -> bool:
        """Make sure the queue and its dead letters exist. True when something had to be made. Repeatable."""

    @abstractmethod
    def is_declared(self, queue: str) -> bool:
        """True when `declare` would find nothing to make. Changes nothing."""

    def set_up(self, queues: Sequence[str], *, dry_run: bool = False) -> list[str]:
        """Declare these queues, and what else this server needs. Returns what was made and what was there.

        A line each, to be read by people. `dry_run` changes nothing and says what would be made.
        """
        lines = []
        for queue in queues:
            made = not self.is_declared(queue) if dry_run else self.declare(queue)
            lines.append(f"{queue}: {('would be made' if dry_run else 'made') if made else 'was there'}")
        return lines

    def server_version(self) -> str:
        """The server's product and version, such as "Redis 7.0.15"; "" where the account may not know."""
        return ""

    def advice(self) -> list[str]:
        """What the administrator of this server should know or do, a line each. Changes nothing."""
        return []

    def refusal(self, queue: str) -> BrokerError | None:
        """Why the server takes no message for this queue at the moment, though it answers; None when it does.

        For a queue that was declared. Changes nothing.
        """
        return None

    def first_refusal(self, queues: Sequence[str]) -> BrokerError | None:
        """That of the first of these queues that has one."""
        return next((found for queue in queues if (found := self.refusal(queue))), None)

    @abstractmethod
    def publish(self, queue: str, messages: Sequence[Message]) -> None:
        """Return once the server has taken charge of every message.

        If this raises, any of them may have been taken: publish the same ids again.
        """

    @abstractmethod
    def consume(self, queue: str, *, prefetch: int = 200) -> Consumer:
        """A consumer that holds at most `prefetch` unsettled deliveries."""

    @abstractmethod
    def depth(self, queue: str) -> Depth:
        """Counts at about this moment. Cheap enough to ask every second; disturbs no consumer."""

    @abstractmethod
    def dead_letters(
        self, queue: str, *, limit: int = 50, reason: str | None = None, id: str | None = None
    ) -> list[DeadLetter]:
        """Look at the oldest dead letters without removing them: all, or those whose reason and whose
        message's id begin so. Loads no more than it returns, about.

        For people, not for loops.
        """

    @abstractmethod
    def count_dead(self, queue: str, *, limit: int | None = None, reason: str | None = None) -> int:
        """How many `requeue_dead` would put back. Loads no body that it need not."""

    @abstractmethod
    def requeue_dead(
        self, queue: str, *, limit: int | None = None, reason: str | None = None, ids: Ids = None
    ) -> int:
        """Put dead letters back, oldest first: all, or those whose reason begins so, or of these messages.

        They are new messages with the same ids: attempts and age (`ttl`) start again. Returns how many.
        Interrupted, a message may be in both places, never in neither.
        """

    @abstractmethod
    def purge_dead(self, queue: str, *, reason: str | None = None, ids: Ids = None) -> int:
        """Drop dead letters for good: all, or those whose reason begins so, or of these messages. Returns how
        many."""

    @abstractmethod
    def purge(self, queue: str) -> int:
        """Drop the ready messages of both lanes, not the dead letters. Returns how many."""
