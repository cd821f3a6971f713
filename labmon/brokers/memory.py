"""A broker inside the process: the reference of the contract, and what fast tests run on. Nothing is durable.

`MemoryServer` stands for the server: it outlives the brokers opened on it, any number of threads may use
one broker each, and it can be stopped and started to see what its users do.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count, islice
from threading import Condition

from labmon.brokers.base import (
    HELD_BYTES,
    Broker,
    DeadLetter,
    Delivery,
    Depth,
    Ids,
    Message,
)
from labmon.brokers.leased import LeasedConsumer
from labmon.errors import BrokerRefused, BrokerUnavailable


@dataclass
class _Waiting:
    message: Message
    enqueued_at: float
    attempts: int = 0
    lease: int = 0  #: whose it is, or was; only that one may settle it
    leased_until: float = 0.0

    def is_ready(self, now: float) -> bool:
        return self.leased_until <= now


@dataclass
class _Queue:
    lanes: dict[bool, dict[int, _Waiting]] = field(default_factory=lambda: {True: {}, False: {}})
    dead: list[DeadLetter] = field(default_factory=list)
    consumers: int = 0

    def waiting(self) -> list[_Waiting]:
        return [one for lane in self.lanes.values() for one in lane.values()]


class MemoryServer:
    """Queues that live as long as this object. `clock` gives seconds since the epoch."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._changed = Condition()
        self._queues: dict[str, _Queue] = {}
        self._numbers = count(1)
        self._running = True
        self._starts = 1

    def stop(self) -> None:
        """Be away: every call raises BrokerUnavailable, and the consumers of now are finished."""
        with self._changed:
            self._running = False
            for queue in self._queues.values():
                queue.consumers = 0
            self._changed.notify_all()

    def start(self) -> None:
        """Be back, with everything that was there."""
        with self._changed:
            self._starts += not self._running
            self._running = True

    def _check(self) -> None:
        if not self._running:
            raise BrokerUnavailable("the queue in memory is stopped. Start it again")

    def _queue(self, name: str) -> _Queue:
        self._check()
        if name not in self._queues:
            raise BrokerRefused(f"the queue in memory: there is no {name}. Make it with: labmon setup-queues")
        return self._queues[name]


class MemoryBroker(Broker):
    """On a server of its own, or on one shared with other brokers."""

    def __init__(
        self,
        server: MemoryServer | None = None,
        *,
        lease: float = 60.0,
        ttl: Mapping[str, float] | None = None,
    ) -> None:
        self._server = server or MemoryServer()
        self._changed = self._server._changed
        self._lease = lease
        self._ttl = dict(ttl or {})
        self._consumers: list[MemoryConsumer] = []

    def declare(self, queue: str) -> bool:
        with self._changed:
            self._server._check()
            if queue in self._server._queues:
                return False
            self._server._queues[queue] = _Queue()
            return True

    def is_declared(self, queue: str) -> bool:
        with self._changed:
            self._server._check()
            return queue in self._server._queues

    def publish(self, queue: str, messages: Sequence[Message]) -> None:
        with self._changed:
            lanes = self._server._queue(queue).lanes
            for message in messages:
                lanes[message.high][next(self._server._numbers)] = _Waiting(message, self._server.clock())
            self._changed.notify_all()

    def consume(self, queue: str, *, prefetch: int = 200) -> "MemoryConsumer":
        consumer = MemoryConsumer(self._server, queue, prefetch, self._lease, self._ttl.get(queue))
        self._consumers = [one for one in self._consumers if not one.is_closed]
        self._consumers.append(consumer)
        return consumer

    def depth(self, queue: str) -> Depth:
        with self._changed:
            found, now = self._server._queue(queue), self._server.clock()
            ready = [one for one in found.waiting() if one.is_ready(now)]
            return Depth(
                ready=len(ready),
                ready_high=sum(one.message.high for one in ready),
                in_flight=len(found.waiting()) - len(ready),
                dead=len(found.dead),
                consumers=found.consumers,
                oldest_age_seconds=max((now - one.enqueued_at for one in ready), default=0.0),
            )

    def dead_letters(
        self, queue: str, *, limit: int = 50, reason: str | None = None, id: str | None = None
    ) -> list[DeadLetter]:
        with self._changed:
            found = self._dead(queue, reason)
            return [dead for dead in found if dead.message.id.startswith(id or "")][:limit]

    def count_dead(self, queue: str, *, limit: int | None = None, reason: str | None = None) -> int:
        with self._changed:
            return len(self._dead(queue, reason)[:limit])

    def requeue_dead(
        self, queue: str, *, limit: int | None = None, reason: str | None = None, ids: Ids = None
    ) -> int:
        with self._changed:
            chosen = self._dead(queue, reason, ids)[:limit]
            self.publish(queue, [dead.message for dead in chosen])
            self._bury(queue, chosen)
            return len(chosen)

    def purge_dead(self, queue: str, *, reason: str | None = None, ids: Ids = None) -> int:
        with self._changed:
            chosen = self._dead(queue, reason, ids)
            self._bury(queue, chosen)
            return len(chosen)

    def purge(self, queue: str) -> int:
        with self._changed:
            found, now = self._server._queue(queue), self._server.clock()
            before = len(found.waiting())
            for high, lane in found.lanes.items():
                found.lanes[high] = {number: one for number, one in lane.items() if not one.is_ready(now)}
            return before - len(found.waiting())

    def close(self) -> None:
        while self._consumers:
            self._consumers.pop().close()

    def _dead(self, queue: str, reason: str | None, ids: Ids = None) -> list[DeadLetter]:
        return [
            dead
            for dead in self._server._queue(queue).dead
            if dead.reason.startswith(reason or "") and (ids is None or dead.message.id in ids)
        ]

    def _bury(self, queue: str, chosen: list[DeadLetter]) -> None:
        gone = {id(dead) for dead in chosen}
        found = self._server._queue(queue)
        found.dead = [dead for dead in found.dead if id(dead) not in gone]


@dataclass(frozen=True)
class _Tag:
    number: int
    lease: int
    leased_until: float


class MemoryConsumer(LeasedConsumer):
    """What `MemoryBroker.consume` returns."""

    def __init__(
        self, server: MemoryServer, queue: str, prefetch: int, lease: float, ttl: float | None
    ) -> None:
        super().__init__(queue, prefetch, lease, ttl)
        self._server = server
        self._changed = server._changed
        self._held: dict[_Tag, Delivery] = {}
        with self._changed:
            server._queue(queue).consumers += 1
            self._start: int | None = server._starts

    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        deadline = time.monotonic() + timeout
        with self._changed:
            while not (deliveries := self._claim(limit)) and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(min(left, 0.1))  # leases end without telling anyone
            return deliveries

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        self._settle(deliveries, keep=False)

    def release(self, deliveries: Sequence[Delivery], *, failed: bool = False) -> None:
        with self._changed:
            for one in self._settle(deliveries, keep=True):
                one.lease, one.leased_until = 0, 0.0
                one.attempts -= not failed
            self._changed.notify_all()

    def reject(self, deliveries: Sequence[Delivery], reason: str, error: str = "") -> None:
        with self._changed:
            died_at = _moment(self._server.clock())
            self._found().dead += [
                DeadLetter(one.message, reason, error, one.attempts, died_at, _moment(one.enqueued_at))
                for one in self._settle(deliveries, keep=False)
            ]

    def close(self) -> None:
        with self._changed:
            if self._start == self._server._starts and self._server._running:
                self.release(list(self._held.values()))
                self._found().consumers -= 1
            self._start = None

    @property
    def is_closed(self) -> bool:
        """True after `close`."""
        return self._start is None

    def _found(self) -> _Queue:
        self._server._check()
        if self._start != self._server._starts:
            raise BrokerUnavailable(f"this consumer of {self._queue} is finished. Open another")
        return self._server._queue(self._queue)

    def _claim(self, limit: int) -> list[Delivery]:
        lanes, now = self._found().lanes, self._server.clock()
        self._held = {tag: one for tag, one in self._held.items() if tag.leased_until > now}
        room = HELD_BYTES - sum(len(one.message.body) for one in self._held.values())
        limit = max(0, min(limit, self._prefetch - len(self._held))) if room > 0 else 0
        high, normal = (
            list(
                islice(_fitting((item for item in lanes[lane].items() if item[1].is_ready(now)), room), limit)
            )
            for lane in (True, False)
        )
        del normal[max(self._share.keep(limit), limit - len(high)) :]
        self._share.took(len(normal))
        del high[limit - len(normal) :]
        return [self._deliver(one, number, now) for number, one in high + normal]

    def _deliver(self, one: _Waiting, number: int, now: float) -> Delivery:
        tag = _Tag(number, next(self._server._numbers), now + self._lease)
        one.lease, one.leased_until = tag.lease, tag.leased_until
        one.attempts += 1
        expired = self._ttl is not None and now - one.enqueued_at > self._ttl
        delivery = Delivery(one.message, one.attempts, _moment(one.enqueued_at), expired, tag)
        self._held[tag] = delivery
        return delivery

    def _settle(self, deliveries: Sequence[Delivery], *, keep: bool) -> list[_Waiting]:
        """Those that are still ours; removed from the queue unless `keep`."""
        with self._changed:
            lanes, ours = self._found().lanes, []
            for delivery in deliveries:
                self._held.pop(delivery.tag, None)
                lane = lanes[delivery.message.high]
                one = lane.get(delivery.tag.number)
                if one is not None and one.lease == delivery.tag.lease:
                    ours.append(one if keep else lane.pop(delivery.tag.number))
            return ours


def _fitting(items: Iterable[tuple[int, _Waiting]], room: int) -> Iterator[tuple[int, _Waiting]]:
    """The first of them, until `room` bytes are reached."""
    for item in items:
        if room <= 0:
            return
        room -= len(item[1].message.body)
        yield item


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
