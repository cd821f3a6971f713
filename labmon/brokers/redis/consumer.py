"""Consuming from Redis: entries of two streams, each with one owner in the group at a time."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import NamedTuple

from labmon.brokers.base import HELD_BYTES, Delivery
from labmon.brokers.leased import LeasedConsumer
from labmon.brokers.redis.connection import Command, RedisEndpoint
from labmon.brokers.redis.entries import GROUP, dead, fields, lane, message, milliseconds, moment, storable
from labmon.brokers.redis.reclaim import connection_name, consumer_name, reclaim
from labmon.brokers.redis.scripts import load
from labmon.errors import BrokerError, BrokerUnavailable

LOOK_EVERY = 0.5
"""Seconds between looks at what was given back. New messages wake the consumer at once."""

RECLAIM_EVERY = (1.0, 5.0)
"""Seconds between looks at what others hold, in case that they are gone or their leases have ended: when
there is nothing else to do, and at the latest."""

CHUNK = 1000
"""Entries that one script settles: Lua takes no more than 8000 values on its stack."""

CHUNK_OF_COPIES = 100
"""The same for those that are sent whole."""

RECEIVE, LEAVE = load("receive"), load("leave")
ACK, RELEASE, REJECT = (load(name, settles=True) for name in ("ack", "release", "reject"))


class _Tag(NamedTuple):
    high: bool
    id: bytes
    serial: int  #: an entry can be delivered to the same consumer twice
    ends: float  #: of the lease, by the local monotonic clock


class RedisConsumer(LeasedConsumer):
    """What `RedisBroker.consume` returns. Has a connection of its own, which dies with it.

    Its name in the group tells the others its lease, and is the name of its connection too: a consumer
    without a connection is gone, and what it held may be taken at once.
    """

    def __init__(
        self, server: RedisEndpoint, queue: str, prefetch: int, lease: float, ttl: float | None
    ) -> None:
        super().__init__(queue, prefetch, lease, ttl)
        self._server = server
        self._held: dict[tuple[bool, bytes], Delivery] = {}
        self._serials = count(1)
        self._look_at = {True: 0.0, False: 0.0}
        self._largest = {
            True: HELD_BYTES,
            False: HELD_BYTES,
        }  #: bytes, of the bodies read last; at first unknown
        self._reclaimed_at = time.monotonic() - RECLAIM_EVERY[0]
        self._name = consumer_name(lease)
        self._is_open = True
        with server.errors(queue):
            self._connection = server.connect(connection_name(queue, self._name))
            # The first read makes it a consumer. XGROUP CREATECONSUMER would be refused when memory is full.
            check = [("XPENDING", key, GROUP) for key in self._lanes()]
            try:
                now, *_ = self._connection.calls([("TIME",), *check])
            except BaseException:
                self._connection.close()
                raise
        self._clock = int(now[0]) + int(now[1]) / 1e6 - time.monotonic()

    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        deadline = time.monotonic() + timeout
        with self._errors():
            while True:
                room, room_bytes = self._room()
                room = min(limit, room) if room_bytes > 0 else 0
                deliveries = self._fetch(room, room_bytes)
                left = deadline - time.monotonic()
                if deliveries or left <= 0:
                    return deliveries
                if room <= 0:
                    time.sleep(min(left, 0.1))  # leases end without telling anyone
                elif first := self._wait(left):
                    # Each lane may have given one. And a waiting thread is given one, though more have come.
                    self._settle(RELEASE, first[room:], 0)
                    rest = self._room()
                    deliveries = first[:room] + self._fetch(min(room - len(first), rest[0]), rest[1])
                    return sorted(deliveries, key=lambda one: not one.message.high)

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        with self._errors():
            self._settle(ACK, deliveries)

    def release(self, deliveries: Sequence[Delivery], *, failed: bool = False) -> None:
        with self._errors():
            self._settle(RELEASE, deliveries, int(failed))

    def reject(self, deliveries: Sequence[Delivery], reason: str, error: str = "") -> None:
        details = (storable(reason), storable(error))
        with self._errors():
            self._connection.calls(
                [
                    (
                        *("EVAL", REJECT, 2, lane(self._queue, high), dead(self._queue), GROUP, self._name),
                        *(int(high), *details),
                        *(part for one in chunk for part in _copy(one)),
                    )
                    for high, chunk in self._given_up(deliveries, CHUNK_OF_COPIES)
                ]
            )

    def close(self) -> None:
        if not self._is_open:
            return
        try:
            with self._errors():
                self._settle(RELEASE, list(self._held.values()), 0)
                self._connection.call("EVAL", LEAVE, 2, *self._lanes(), GROUP, self._name)
        except BrokerError:
            pass  # The others will see that it is gone.
        self._finish()

    @property
    def is_closed(self) -> bool:
        """True after `close`, and once the connection is lost."""
        return not self._is_open

    @contextmanager
    def _errors(self) -> Iterator[None]:
        if not self._is_open:
            raise BrokerUnavailable(f"this consumer of {self._queue} is finished. Open another")
        try:
            with self._server.errors(self._queue):
                yield
        except BrokerUnavailable:
            self._finish()
            raise

    def _finish(self) -> None:
        self._is_open = False
        self._held.clear()
        self._connection.close()

    def _lanes(self) -> tuple[str, str]:
        return lane(self._queue, True), lane(self._queue, False)

    def _room(self) -> tuple[int, int]:
        """How many more it may hold, and how many bytes."""
        now = time.monotonic()
        sizes = [len(one.message.body) for one in self._held.values() if one.tag.ends > now]
        return self._prefetch - len(sizes), HELD_BYTES - sum(sizes)

    def _fetch(self, limit: int, room_bytes: int) -> list[Delivery]:
        if limit <= 0 or room_bytes <= 0:
            return []
        since = time.monotonic() - self._reclaimed_at
        if since >= RECLAIM_EVERY[1]:
            self._reclaim()
        deliveries = self._read(limit, room_bytes)
        if not deliveries and RECLAIM_EVERY[0] <= since < RECLAIM_EVERY[1] and self._reclaim():
            deliveries = self._read(limit, room_bytes)
        return deliveries

    def _read(self, limit: int, room_bytes: int) -> list[Delivery]:
        """Up to `room_bytes` from each lane."""
        keep = self._share.keep(limit)
        high = self._read_lane(True, limit - keep, room_bytes)
        normal = self._read_lane(False, limit - len(high), room_bytes)
        if len(high) == limit - keep:
            left = room_bytes - sum(len(one.message.body) for one in high)
            high += self._read_lane(True, limit - len(high) - len(normal), left)
        self._share.took(len(normal))
        return high + normal

    def _read_lane(self, high: bool, limit: int, room_bytes: int) -> list[Delivery]:
        """What was given back, then what is new.

        The script counts bytes, which costs the server as much again as the read. So while messages are small
        it is only used to look at what was given back.
        """
        if limit <= 0 or room_bytes <= 0:
            return []
        key, now = lane(self._queue, high), time.monotonic()
        looks = now >= self._look_at[high]
        if looks or limit * self._largest[high] > room_bytes:
            given, new = self._connection.call(
                *("EVAL", RECEIVE, 1, key, GROUP, self._name, limit, room_bytes, int(looks))
            )
            if looks and len(given) < limit:
                self._look_at[high] = now + LOOK_EVERY
        else:
            reply = self._connection.call(
                *("XREADGROUP", "GROUP", GROUP, self._name, "COUNT", limit, "STREAMS", key, ">")
            )
            given, new = (), reply[0][1] if reply else ()
        deliveries = [self._delivered(high, id_, flat, before + 1) for before, id_, flat in given]
        deliveries += [self._delivered(high, id_, flat, 1) for id_, flat in new]
        if deliveries:
            self._largest[high] = max(len(one.message.body) for one in deliveries)
        return deliveries

    def _wait(self, seconds: float) -> list[Delivery]:
        """At most one new entry of each lane."""
        block = max(1, round(1000 * min(seconds, LOOK_EVERY)))  # 0 would mean: for ever
        reply = self._connection.call(
            *("XREADGROUP", "GROUP", GROUP, self._name, "COUNT", 1, "BLOCK", block),
            *("STREAMS", *self._lanes(), ">", ">"),
        )
        high = lane(self._queue, True).encode()
        return [
            self._delivered(key == high, id_, flat, 1) for key, found in reply or () for id_, flat in found
        ]

    def _delivered(self, high: bool, id_: bytes, flat: list[bytes], attempt: int) -> Delivery:
        now = time.monotonic()
        tag = _Tag(high, id_, next(self._serials), now + self._lease)
        age = self._clock + now - milliseconds(id_) / 1000
        expired = self._ttl is not None and age > self._ttl
        one = Delivery(message(id_, fields(flat), high=high), attempt, moment(id_), expired, tag)
        self._held[high, id_] = one
        return one

    def _reclaim(self) -> bool:
        """Give back what others hold and should not. True when there was something."""
        self._reclaimed_at = time.monotonic()
        moved = reclaim(self._connection, self._queue, self._server.database, self._lease)
        if moved:
            self._look_at = {True: 0.0, False: 0.0}
        return moved

    def _settle(self, script: str, deliveries: Sequence[Delivery], *details: int) -> None:
        commands: list[Command] = [
            (
                *("EVAL", script, 1, lane(self._queue, high), GROUP, self._name, *details),
                *(one.tag.id for one in chunk),
            )
            for high, chunk in self._given_up(deliveries, CHUNK)
        ]
        if commands:
            self._connection.calls(commands)
        if script is RELEASE:
            self._look_at = {True: 0.0, False: 0.0}

    def _given_up(self, deliveries: Sequence[Delivery], size: int) -> list[tuple[bool, list[Delivery]]]:
        """By lane and in the order of the ids, those that have not been settled. They are held no longer."""
        chunks = []
        for high in (True, False):
            found = []
            for one in deliveries:
                held = self._held.get((high, one.tag.id)) if one.tag.high is high else None
                if held is not None and held.tag == one.tag:
                    found.append(self._held.pop((high, one.tag.id)))
            found.sort(key=lambda one: [int(part) for part in one.tag.id.split(b"-")])
            chunks += [(high, found[at : at + size]) for at in range(0, len(found), size)]
        return chunks


def _copy(one: Delivery) -> Command:
    return one.tag.id, one.message.id, one.message.routing_key, one.message.body, one.attempt
