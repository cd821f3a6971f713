"""The consuming side of `redis.py`: entries of two streams, each with one owner in the group at a time."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

from labmon.brokers.base import Consumer, Delivery, LaneShare
from labmon.brokers.redis_connection import Command, Server
from labmon.brokers.redis_entries import (
    GROUP,
    dead,
    fields,
    lane,
    message,
    milliseconds,
    moment,
    storable,
)
from labmon.brokers.redis_sweep import connection_name, consumer_name, sweep
from labmon.errors import BrokerError, BrokerUnavailable

LOOK_EVERY = 0.5
"""Seconds between looks at what others have released. New messages wake the consumer at once."""

SWEEP_EVERY = (1.0, 5.0)
"""Seconds between looks at what others hold, in case that they are gone or their leases have ended: when
there is nothing else to do, and at the latest."""

CHUNK = 1000
"""Entries that one script settles: Lua takes no more than 8000 values on its stack."""

CHUNK_OF_COPIES = 100
"""The same for those that are sent whole."""

# A lane's entries, each as (times delivered before, id, fields), from those that were given back. An entry
# that somebody has deleted is forgotten: since 7.0 XCLAIM does so itself, before it returns nothing for it.
TAKE = """
local lane, group, me, limit = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local taken = {}
for _, one in ipairs(redis.call('XPENDING', lane, group, '-', '+', limit, 'released')) do
  local entry = redis.call('XCLAIM', lane, group, me, 0, one[1])[1]
  if entry then
    taken[#taken + 1] = {one[4], entry[1], entry[2]}
  else
    redis.call('XACK', lane, group, one[1])
  end
end
return taken
"""

# All settling goes by this: only what is still ours, from the first id to the last. XACK asks nobody.
OURS = """
local ours = {}
local function find(lane, group, me, first, last)
  for _, one in ipairs(redis.call('XPENDING', lane, group, first, last, 1000000, me)) do
    ours[one[1]] = one[4]
  end
end
"""

ACK = (
    OURS
    + """
local lane, group, me = KEYS[1], ARGV[1], ARGV[2]
find(lane, group, me, ARGV[3], ARGV[#ARGV])
local ids = {}
for i = 3, #ARGV do
  if ours[ARGV[i]] then ids[#ids + 1] = ARGV[i] end
end
if #ids > 0 then
  redis.call('XACK', lane, group, unpack(ids))
  redis.call('XDEL', lane, unpack(ids))
end
"""
)

# JUSTID leaves the count of deliveries as it is; RETRYCOUNT makes it what it was before this one.
RELEASE = (
    OURS
    + """
local lane, group, me, failed = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
find(lane, group, me, ARGV[4], ARGV[#ARGV])
for i = 4, #ARGV do
  local times = ours[ARGV[i]]
  if times then
    redis.call('XCLAIM', lane, group, 'released', 0, ARGV[i], 'RETRYCOUNT', times - 1 + failed, 'JUSTID')
  end
end
"""
)

# A server whose memory is full refuses XADD, unless the script has written something before: then it lets it
# finish. Without the XCLAIM, which changes nothing, nobody could take expired messages out of a full server.
REJECT = (
    OURS
    + """
local lane, dead, group, me = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
find(lane, group, me, ARGV[6], ARGV[#ARGV - 4])
for i = 6, #ARGV, 5 do
  local id = ARGV[i]
  if ours[id] then
    redis.call('XCLAIM', lane, group, me, 0, id, 'JUSTID')
    redis.call('XADD', dead, '*', 'id', ARGV[i + 1], 'key', ARGV[i + 2], 'body', ARGV[i + 3],
      'high', ARGV[3], 'reason', ARGV[4], 'error', ARGV[5], 'attempt', ARGV[i + 4], 'entry', id)
    redis.call('XACK', lane, group, id)
    redis.call('XDEL', lane, id)
  end
end
"""
)

LEAVE = """
for _, lane in ipairs(KEYS) do
  if #redis.call('XPENDING', lane, ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
    redis.call('XGROUP', 'DELCONSUMER', lane, ARGV[1], ARGV[2])
  end
end
"""


class _Tag(NamedTuple):
    high: bool
    id: bytes
    serial: int  #: an entry can be delivered to the same consumer twice
    ends: float  #: of the lease, by the local monotonic clock


class RedisConsumer(Consumer):
    """What `RedisBroker.consume` returns. Has a connection of its own, which dies with it.

    Its name in the group tells the others its lease, and is the name of its connection too: a consumer
    without a connection is gone, and what it held may be taken at once.
    """

    def __init__(self, server: Server, queue: str, prefetch: int, lease: float, ttl: float | None) -> None:
        self._server = server
        self._queue = queue
        self._prefetch = prefetch
        self._lease = lease
        self._ttl = ttl
        self._share = LaneShare()
        self._held: dict[tuple[bool, bytes], Delivery] = {}
        self._serials = count(1)
        self._look_at = {True: 0.0, False: 0.0}
        self._swept_at = time.monotonic() - SWEEP_EVERY[0]
        self._name = consumer_name(lease)
        self._is_open = True
        with server.errors(queue):
            self._link = server.connect(connection_name(queue, self._name))
            # The first read makes it a consumer. XGROUP CREATECONSUMER would be refused when memory is full.
            check = [("XPENDING", key, GROUP) for key in self._lanes()]
            try:
                now, *_ = self._link.calls([("TIME",), *check])
            except BaseException:
                self._link.close()
                raise
        self._clock = int(now[0]) + int(now[1]) / 1e6 - time.monotonic()

    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        deadline = time.monotonic() + timeout
        with self._errors():
            while True:
                room = min(limit, self._room())
                deliveries = self._fetch(room)
                left = deadline - time.monotonic()
                if deliveries or left <= 0:
                    return deliveries
                if room <= 0:
                    time.sleep(min(left, 0.1))  # leases end without telling anyone
                elif first := self._wait(left):
                    # Each lane may have given one. And whoever waits is given one, though more have come.
                    self._settle(RELEASE, first[room:], 0)
                    deliveries = first[:room] + self._fetch(room - len(first))
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
            self._link.calls(
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
                self._link.call("EVAL", LEAVE, 2, *self._lanes(), GROUP, self._name)
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
        self._link.close()

    def _lanes(self) -> tuple[str, str]:
        return lane(self._queue, True), lane(self._queue, False)

    def _room(self) -> int:
        now = time.monotonic()
        held = sum(1 for one in self._held.values() if one.tag.ends > now)
        return self._prefetch - held

    def _fetch(self, limit: int) -> list[Delivery]:
        if limit <= 0:
            return []
        since = time.monotonic() - self._swept_at
        if since >= SWEEP_EVERY[1]:
            self._sweep()
        deliveries = self._read(limit)
        if not deliveries and SWEEP_EVERY[0] <= since < SWEEP_EVERY[1] and self._sweep():
            deliveries = self._read(limit)
        return deliveries

    def _read(self, limit: int) -> list[Delivery]:
        keep = self._share.keep(limit)
        high = self._read_lane(True, limit - keep)
        normal = self._read_lane(False, limit - len(high))
        if len(high) == limit - keep:
            high += self._read_lane(True, limit - len(high) - len(normal))
        self._share.took(len(normal))
        return high + normal

    def _read_lane(self, high: bool, limit: int) -> list[Delivery]:
        """What was given back, then what is new."""
        if limit <= 0:
            return []
        key, now, taken = lane(self._queue, high), time.monotonic(), []
        if now >= self._look_at[high]:
            given = self._link.call("EVAL", TAKE, 1, key, GROUP, self._name, limit)
            taken = [self._delivered(high, id_, flat, before + 1) for before, id_, flat in given]
            if len(taken) == limit:
                return taken
            self._look_at[high] = now + LOOK_EVERY
        new = self._link.call(
            *("XREADGROUP", "GROUP", GROUP, self._name, "COUNT", limit - len(taken), "STREAMS", key, ">")
        )
        return taken + self._new(new)

    def _wait(self, seconds: float) -> list[Delivery]:
        """At most one new entry of each lane."""
        block = max(1, round(1000 * min(seconds, LOOK_EVERY)))  # 0 would mean: for ever
        return self._new(
            self._link.call(
                *("XREADGROUP", "GROUP", GROUP, self._name, "COUNT", 1, "BLOCK", block),
                *("STREAMS", *self._lanes(), ">", ">"),
            )
        )

    def _new(self, reply: Any) -> list[Delivery]:
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

    def _sweep(self) -> bool:
        """Give back what others hold and should not. True when there was something."""
        self._swept_at = time.monotonic()
        moved = sweep(self._link, self._queue, self._server.database, self._lease)
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
            self._link.calls(commands)
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
