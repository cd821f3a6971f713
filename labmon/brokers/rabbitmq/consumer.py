"""Consuming from RabbitMQ: deliveries come by themselves, up to `prefetch` from each lane, and wait here."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from labmon.brokers.base import Consumer, Delivery, LaneShare
from labmon.brokers.rabbitmq import topology
from labmon.brokers.rabbitmq.connection import RabbitEndpoint
from labmon.brokers.rabbitmq.lane import Lane
from labmon.brokers.rabbitmq.publisher import ConfirmingPublisher
from labmon.brokers.rabbitmq.wire import HIGH, IncomingMessage
from labmon.errors import BrokerUnavailable

REFILL = 0.1
"""Seconds that the urgent lane, if it was full, is given to fill up again before the other has its turn.
There may be thousands more at the server, and this consumer faster than its answer."""

FIRST_FILL = 0.5
"""Seconds that the first urgent messages may take to arrive, if there are any."""

MOST_PREFETCH = 65_535

_generations = itertools.count(1)


@dataclass(frozen=True, slots=True, eq=False)
class Tag:
    """Means something to the consumer that made it, of which no other has the generation."""

    generation: int
    high: bool
    number: int  #: on the lane's channel
    received: IncomingMessage
    attempt: int


class RabbitConsumer(Consumer):
    """What `RabbitBroker.consume` returns. Has a connection of its own, which never publishes.

    Fetches ahead: holds up to `prefetch` messages of each lane, received or not. What is given back in the
    end has been delivered, which before RabbitMQ 4.3 costs an attempt.
    """

    def __init__(
        self,
        server: RabbitEndpoint,
        publisher: ConfirmingPublisher,
        queue: str,
        prefetch: int,
        ttl: float | None,
    ) -> None:
        self._server = server
        self._publisher = publisher
        self._queue = queue
        self._prefetch = max(1, min(prefetch, MOST_PREFETCH))
        self._ttl = ttl
        self._share = LaneShare()
        self._generation = next(_generations)
        self._held: dict[tuple[bool, int], Tag] = {}
        self._lanes = {
            True: Lane(queue + HIGH, self._prefetch),
            False: Lane(queue, self._prefetch),
        }
        self._changed = threading.Condition()
        self._incoming: list[tuple[Lane, IncomingMessage, int]] = []
        self._over: BaseException | None = None
        self._closed = False
        with server.errors(queue):
            self._session = server.connect(f"consumer of {queue}")
            try:
                self._start()
            except BaseException:
                self._session.close()
                raise

    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        return self._delivered(self._wait_for_some(limit, time.monotonic() + timeout))

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        self._settle(self._ours(deliveries), "ack")

    def release(self, deliveries: Sequence[Delivery], *, failed: bool = False) -> None:
        tags = self._ours(deliveries)
        if not failed:
            # RabbitMQ 4.3 counts no attempt for a nack. Those before count one for either.
            self._settle(tags, "nack")
            return
        uncounted = [tag for tag in tags if not tag.received.is_counted()]
        self._publisher.publish(
            [tag.received.retry_copy(self._lanes[tag.high].name, attempt=tag.attempt) for tag in uncounted]
        )
        self._settle(uncounted, "ack")
        self._settle([tag for tag in tags if tag.received.is_counted()], "reject")

    def reject(self, deliveries: Sequence[Delivery], reason: str, error: str = "") -> None:
        tags, now = self._ours(deliveries), time.time()
        self._publisher.publish(
            [
                tag.received.dead_copy(
                    self._queue, high=tag.high, attempt=tag.attempt, reason=reason, error=error, now=now
                )
                for tag in tags
            ]
        )
        self._settle(tags, "ack")

    def close(self) -> None:
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        with suppress(Exception):
            for lane in self._lanes.values():
                lane.close(self._session)
        self._session.close()

    @property
    def is_closed(self) -> bool:
        """True after `close`, and once the connection is lost."""
        return self._closed or self._over is not None

    def _start(self) -> None:
        counts = {}
        for lane in self._lanes.values():
            found = topology.look(self._session, lane.name)
            if found is None:
                raise self._server.no_queue(lane.name)
            counts[lane] = found.message_count
        for lane in self._lanes.values():
            lane.open(self._session, self._take, self._end)
        high = self._lanes[True]
        urgent = min(counts[high], self._prefetch)
        with self._changed:
            self._changed.wait_for(
                lambda: self._over or not high.is_subscribed or len(high.arrived) >= urgent, FIRST_FILL
            )

    def _take(self, lane: Lane, received: IncomingMessage, cost: int) -> None:
        if not self._incoming:
            # Once for all that came in one go, or the waiting thread wakes up for a batch of one.
            self._session.submit(self._flush)
        self._incoming.append((lane, received, cost))

    def _flush(self) -> None:
        with self._changed:
            for lane, received, cost in self._incoming:
                lane.arrived.append(received)
                lane.unsettled[received.method.delivery_tag] = cost
                lane.was_full = lane.was_full or len(lane.unsettled) >= lane.fetches
            self._incoming.clear()
            self._changed.notify_all()

    def _end(self, error: BaseException) -> None:
        with self._changed:
            self._over = self._over or error
            self._changed.notify_all()

    def _check(self) -> None:
        if self._over is not None and not self._closed:
            raise self._server.translated(self._over, self._queue) from self._over
        if self._closed or self._session.is_over:
            raise BrokerUnavailable(f"{self._server.name}: this consumer of {self._queue} is finished")

    def _wait_for_some(self, limit: int, deadline: float) -> list[tuple[bool, IncomingMessage]]:
        with self._changed:
            while True:
                self._check()
                left = deadline - time.monotonic()
                room = min(limit, self._prefetch - len(self._held))
                if room > 0 and any(lane.arrived for lane in self._lanes.values()):
                    refill = min(self._refill(room), left)
                    if refill <= 0:
                        return self._next(room)
                    self._changed.wait(refill)
                elif left <= 0:
                    return []
                else:
                    self._changed.wait(left)

    def _refill(self, wanted: int) -> float:
        """For how long the urgent lane may still fill up again, when the other would take its place."""
        high, normal = self._lanes[True], self._lanes[False]
        all_there = len(high.unsettled) >= high.fetches or not high.is_subscribed
        if not high.was_full or not normal.arrived or len(high.arrived) >= wanted or all_there:
            return 0.0
        left = high.settled_at + REFILL - time.monotonic()
        high.was_full = left > 0
        return left

    def _next(self, limit: int) -> list[tuple[bool, IncomingMessage]]:
        high, normal = self._lanes[True].arrived, self._lanes[False].arrived
        count = min(len(normal), max(self._share.keep(limit), limit - len(high)))
        self._share.took(count)
        return [(True, high.popleft()) for _ in range(min(len(high), limit - count))] + [
            (False, normal.popleft()) for _ in range(count)
        ]

    def _delivered(self, chosen: Sequence[tuple[bool, IncomingMessage]]) -> list[Delivery]:
        """One that labmon fails to make sense of goes to the dead letters, and stops no other."""
        deliveries, now = [], datetime.now(UTC)
        for high, received in chosen:
            try:
                deliveries.append(self._deliver(high, received, now))
            except Exception as error:
                self._bury(high, received, f"{type(error).__name__}: {error}")
        return deliveries

    def _deliver(self, high: bool, received: IncomingMessage, now: datetime) -> Delivery:
        attempt, enqueued_at = received.attempt(), received.enqueued_at()
        message = received.message(high=high)
        expired = (
            self._ttl is not None
            and enqueued_at is not None
            and (now - enqueued_at).total_seconds() > self._ttl
        )
        return Delivery(message, attempt, enqueued_at, expired, self._hold(high, received, attempt))

    def _hold(self, high: bool, received: IncomingMessage, attempt: int) -> Tag:
        tag = Tag(self._generation, high, received.method.delivery_tag, received, attempt)
        self._held[high, tag.number] = tag
        return tag

    def _bury(self, high: bool, received: IncomingMessage, error: str) -> None:
        copy = received.unread_copy(self._queue, high=high, error=error, now=time.time())
        self._publisher.publish([copy])
        self._settle([self._hold(high, received, 1)], "ack")

    def _ours(self, deliveries: Sequence[Delivery]) -> list[Tag]:
        """Those that are not settled yet, each once."""
        with self._changed:
            self._check()
            tags = {id(one.tag): one.tag for one in deliveries if isinstance(one.tag, Tag)}.values()
            return [
                tag
                for tag in tags
                if tag.generation == self._generation and (tag.high, tag.number) in self._held
            ]

    def _settle(self, tags: Sequence[Tag], how: str) -> None:
        """ack, nack or reject: as many at once as come without a gap, where AMQP can do that."""
        if not tags:
            return
        orders: list[Callable[[], None]] = []
        with self._changed:
            for high, lane in self._lanes.items():
                numbers = {tag.number for tag in tags if tag.high is high}
                if not numbers:
                    continue
                upto, single, freed = lane.settle(numbers, how != "reject")
                lane.settled_at = time.monotonic()
                settle = getattr(lane.channel.raw, f"basic_{how}")
                orders += [partial(settle, upto, multiple=True)] if upto else []
                orders += [partial(settle, number) for number in single]
                orders.append(partial(lane.settled, len(numbers), freed))
            for tag in tags:
                del self._held[tag.high, tag.number]

        def settle_all() -> None:
            for order in orders:
                order()

        with self._server.errors(self._queue):
            self._session.submit(settle_all)
