"""The queue on a Redis server, 6.2 or later, in streams with one consumer group; driven by redis-py.

`entries` says what that looks like on the server. A message that is delivered stays in the stream, and is
pending for its owner; settling goes by scripts that touch only what the caller still owns.

How safe `publish` is depends on the server: with `appendfsync always` a message survives whatever the disk
survives. What the server may lose otherwise is logged with the first message, once.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import islice
from typing import NamedTuple

from labmon.brokers.base import Broker, DeadLetter, Depth, Ids, Message
from labmon.brokers.kept import KeptConnection
from labmon.brokers.redis.connection import RedisConnection, RedisEndpoint
from labmon.brokers.redis.consumer import RedisConsumer
from labmon.brokers.redis.durability import durability_warnings, log_once
from labmon.brokers.redis.entries import (
    GROUP,
    RELEASED,
    addition,
    after,
    dead,
    dead_letter,
    fields,
    lane,
    milliseconds,
    storable,
)
from labmon.brokers.redis.reclaim import connected
from labmon.brokers.redis.scripts import load
from labmon.errors import BrokerError, BrokerForbidden

FIND_DEAD, PURGE, REQUEUE = (load(name) for name in ("find_dead", "purge", "requeue"))

CHUNK = 1000
"""Entries that one transaction adds, or one script moves or drops."""

CHUNK_BYTES = 2**23
"""The same for their bodies: the server keeps a transaction in memory until it is complete."""


class RedisBroker(Broker):
    """Connects when it is first used. `ttl` gives the seconds after which a queue's messages are expired."""

    def __init__(
        self, server: RedisEndpoint, *, lease: float = 60.0, ttl: Mapping[str, float] | None = None
    ) -> None:
        self._server = server
        self._lease = lease
        self._ttl = dict(ttl or {})
        self._kept = KeptConnection(lambda: server.connect("labmon"), RedisConnection.is_usable)
        self._warned = False
        self._consumers: list[RedisConsumer] = []

    def declare(self, queue: str) -> bool:
        """Where nothing is missing, nothing is written: a server whose memory is full would refuse it."""
        with self._connection(queue) as connection:
            missing = self._missing(connection, queue)
            return any([connection.create_group(key, GROUP) for key in missing])

    def is_declared(self, queue: str) -> bool:
        with self._connection(queue) as connection:
            return not self._missing(connection, queue)

    def advice(self) -> list[str]:
        """What the server may lose by the way it is set up, and the way out."""
        with self._connection("") as connection:
            return [f"{self._server.name}: {line}" for _, line in durability_warnings(connection)]

    def refusal(self, queue: str) -> BrokerError | None:
        """Asks for the group that is there already. The server refuses that like any other change while it is
        a replica, has too few replicas, has no memory, or cannot save."""
        try:
            with self._connection(queue) as connection:
                connection.create_group(lane(queue, False), GROUP)
        except BrokerForbidden:
            return None  # an account that only publishes or only looks
        except BrokerError as error:
            return error
        return None

    def server_version(self) -> str:
        with suppress(BrokerForbidden), self._connection("") as connection:
            said = connection.call("INFO", "server")
            text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
            found = re.search(r"redis_version:(\S+)", text)
            return f"Redis {found[1]}" if found else ""
        return ""

    def publish(self, queue: str, messages: Sequence[Message]) -> None:
        with self._connection(queue) as connection:
            self._warn(connection)
            for chunk in _chunks(messages):
                added = connection.transaction([addition(lane(queue, one.high), one) for one in chunk])
                if None in added:
                    raise self._server.no_queue(queue)

    def consume(self, queue: str, *, prefetch: int = 200) -> RedisConsumer:
        with self._connection(queue) as connection:
            self._warn(connection)
        consumer = RedisConsumer(self._server, queue, prefetch, self._lease, self._ttl.get(queue))
        self._consumers = [one for one in self._consumers if not one.is_closed]
        self._consumers.append(consumer)
        return consumer

    def depth(self, queue: str) -> Depth:
        """Exact, however many messages are waiting. `consumers` are those that are connected now, None where
        the account may not see them. What a crashed one holds is `in_flight` until another notices."""
        with self._connection(queue) as connection:
            high, normal = (_depth(connection, lane(queue, high)) for high in (True, False))
            now, buried = connection.calls([("TIME",), ("XLEN", dead(queue))])
            (clients,) = connection.ask([("CLIENT", "LIST")])
        oldest = min(high.oldest + normal.oldest, default=None)
        return Depth(
            ready=high.ready + normal.ready,
            ready_high=high.ready,
            in_flight=high.in_flight + normal.in_flight,
            dead=buried,
            consumers=None if clients is None else len(connected(clients, queue, self._server.database)),
            oldest_age_seconds=0.0
            if oldest is None
            else max(0.0, int(now[0]) + int(now[1]) / 1e6 - oldest / 1000),
        )

    def dead_letters(
        self, queue: str, *, limit: int = 50, reason: str | None = None, id: str | None = None
    ) -> list[DeadLetter]:
        with self._connection(queue) as connection:
            found = self._find_dead(connection, queue, limit=limit, reason=reason, id=id)
            entries = (connection.call("XRANGE", dead(queue), one, one) for one in found)
            return [dead_letter(*entry[0]) for entry in entries if entry]

    def count_dead(self, queue: str, *, limit: int | None = None, reason: str | None = None) -> int:
        with self._connection(queue) as connection:
            return sum(1 for _ in self._find_dead(connection, queue, limit=limit, reason=reason))

    def requeue_dead(
        self, queue: str, *, limit: int | None = None, reason: str | None = None, ids: Ids = None
    ) -> int:
        moved = 0
        with self._connection(queue) as connection:
            chosen = self._find_dead(connection, queue, limit=limit, reason=reason, ids=ids)
            while entries := list(islice(chosen, CHUNK)):
                keys = (dead(queue), lane(queue, True), lane(queue, False))
                moved += connection.call("EVAL", REQUEUE, len(keys), *keys, *entries)
        return moved

    def purge_dead(self, queue: str, *, reason: str | None = None, ids: Ids = None) -> int:
        dropped = 0
        with self._connection(queue) as connection:
            if not reason and ids is None:
                self._check(connection, queue)
                return int(connection.call("XTRIM", dead(queue), "MAXLEN", 0))
            chosen = self._find_dead(connection, queue, reason=reason, ids=ids)
            while entries := list(islice(chosen, CHUNK)):
                dropped += connection.call("XDEL", dead(queue), *entries)
        return dropped

    def purge(self, queue: str) -> int:
        total = 0
        with self._connection(queue) as connection:
            self._check(connection, queue)
            for key in (lane(queue, True), lane(queue, False)):
                upto = fields(connection.call("XINFO", "STREAM", key))[b"last-generated-id"]
                found = 1
                while found:
                    dropped, found = connection.call("EVAL", PURGE, 1, key, GROUP, upto, CHUNK)
                    total += dropped
        return total

    def close(self) -> None:
        while self._consumers:
            self._consumers.pop().close()
        self._kept.close()

    def _connection(self, queue: str) -> AbstractContextManager[RedisConnection]:
        return self._kept.use(self._server.errors(queue))

    def _warn(self, connection: RedisConnection) -> None:
        if not self._warned:
            self._warned = True
            for level, line in durability_warnings(connection):
                log_once(level, f"{self._server.name}: {line}")

    def _missing(self, connection: RedisConnection, queue: str) -> list[str]:
        """The lanes that have no consumer group. Raises BrokerRefused when something else is in the way."""
        lanes = [lane(queue, high) for high in (True, False)]
        keys = [*lanes, dead(queue)]
        kinds = connection.calls([("TYPE", key) for key in keys])
        for key, kind in zip(keys, kinds, strict=True):
            if kind not in (b"none", b"stream"):
                raise self._server.in_the_way(queue, key, f"a {kind.decode()}")
        there = [key for key, kind in zip(lanes, kinds, strict=False) if kind == b"stream"]
        groups = connection.calls([("XINFO", "GROUPS", key) for key in there])
        made = {
            key
            for key, found in zip(there, groups, strict=True)
            if GROUP.encode() in [one[1] for one in found]
        }
        return [key for key in lanes if key not in made]

    def _check(self, connection: RedisConnection, queue: str) -> None:
        """Raises the driver's error when the queue was not declared."""
        connection.calls([("XPENDING", lane(queue, high), GROUP) for high in (True, False)])

    def _find_dead(
        self,
        connection: RedisConnection,
        queue: str,
        *,
        limit: int | None = None,
        reason: str | None = None,
        id: str | None = None,
        ids: Ids = None,
    ) -> Iterator[bytes]:
        """The entry ids of the dead letters of now, oldest first; not of those that die meanwhile. They are
        looked for at the server, so that no more of them are loaded than are wanted."""
        self._check(connection, queue)
        last = connection.call("XREVRANGE", dead(queue), "+", "-", "COUNT", 1)
        at: bytes | None = b"-" if last else None
        wanted = (storable(reason or ""), storable(id or ""))
        exact = [] if ids is None else [storable(one) for one in ids]
        if ids is not None and not exact:
            return
        left = sys.maxsize if limit is None else limit
        while at is not None and left > 0:
            looked, found = connection.call(
                *("EVAL", FIND_DEAD, 1, dead(queue), at, last[0][0], *wanted, min(left, CHUNK), *exact)
            )
            yield from found
            left -= len(found)
            at = looked and after(looked)


class _LaneDepth(NamedTuple):
    ready: int
    in_flight: int
    oldest: list[int]  #: when the oldest of those that are ready were added; milliseconds


def _depth(connection: RedisConnection, key: str) -> _LaneDepth:
    length, (pending, _, _, owners), given_back, groups = connection.calls(
        [
            ("XLEN", key),
            ("XPENDING", key, GROUP),
            ("XPENDING", key, GROUP, "-", "+", 1, RELEASED),
            ("XINFO", "GROUPS", key),
        ]
    )
    about = next(one for one in map(fields, groups) if one[b"name"] == GROUP.encode())
    start = after(about[b"last-delivered-id"])
    waiting = connection.call("XRANGE", key, start, "+", "COUNT", 1) if start else []
    in_flight = pending - sum(int(held) for name, held in owners or () if name == RELEASED.encode())
    oldest = [milliseconds(one[0]) for one in given_back + waiting]
    return _LaneDepth(max(0, length - in_flight), in_flight, oldest)


def _chunks(messages: Sequence[Message]) -> Iterator[list[Message]]:
    chunk: list[Message] = []
    size = 0
    for one in messages:
        if chunk and (len(chunk) == CHUNK or size + len(one.body) > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(one)
        size += len(one.body)
    if chunk:
        yield chunk
