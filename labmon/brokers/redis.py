"""The queue on a Redis server, 6.2 or later, in streams with one consumer group; driven by redis-py.

`redis_entries` says what that looks like on the server. A message that is delivered stays in the stream, and
is pending for its owner; settling goes by scripts that touch only what the caller still owns.

How safe `publish` is depends on the server: with `appendfsync always` a message survives whatever the disk
survives. What the server may lose otherwise is logged with the first message, once.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

from labmon.brokers.base import Broker, DeadLetter, Depth, Message
from labmon.brokers.redis_connection import Link, Server, log_once, shortcomings
from labmon.brokers.redis_consumer import RedisConsumer
from labmon.brokers.redis_entries import (
    GROUP,
    RELEASED,
    addition,
    dead,
    dead_letter,
    fields,
    lane,
    milliseconds,
    storable,
)
from labmon.brokers.redis_sweep import connected
from labmon.errors import BrokerUnavailable

CHUNK = 1000
"""Entries that one transaction adds, or one script moves or drops."""

CHUNK_BYTES = 2**23
"""The same for their bodies: the server keeps a transaction in memory until it is complete."""

# Dead letters by their ids, each to the lane it came from, under a new entry id. One that is gone by now was
# put back or dropped by somebody else.
REQUEUE = """
local dead, moved = KEYS[1], 0
for _, id in ipairs(ARGV) do
  local found = redis.call('XRANGE', dead, id, id)[1]
  if found then
    local field = {}
    for i = 1, #found[2], 2 do field[found[2][i]] = found[2][i + 1] end
    redis.call('XADD', field.high == '1' and KEYS[2] or KEYS[3], '*',
      'id', field.id or id, 'key', field.key or '', 'body', field.body or cjson.encode(field))
    redis.call('XDEL', dead, id)
    moved = moved + 1
  end
end
return moved
"""

# What nobody has, up to an id: what was given back, and what the group has not delivered. In a script, or
# somebody might take it while it is being dropped.
PURGE = """
local lane, group, upto, limit = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local ids = {}
for _, one in ipairs(redis.call('XPENDING', lane, group, '-', upto, limit, 'released')) do
  ids[#ids + 1] = one[1]
end
if #ids > 0 then
  redis.call('XACK', lane, group, unpack(ids))
else
  local last = '0-0'
  for _, about in ipairs(redis.call('XINFO', 'GROUPS', lane)) do
    local field = {}
    for i = 1, #about, 2 do field[about[i]] = about[i + 1] end
    if field.name == group then last = field['last-delivered-id'] end
  end
  for _, one in ipairs(redis.call('XRANGE', lane, '(' .. last, upto, 'COUNT', limit)) do
    ids[#ids + 1] = one[1]
  end
end
local dropped = #ids > 0 and redis.call('XDEL', lane, unpack(ids)) or 0
return {dropped, #ids}
"""


class RedisBroker(Broker):
    """Connects when it is first used. `host` may be the path of a socket. `ttl` gives the seconds after which
    a queue's messages are expired."""

    def __init__(
        self,
        host: str = "localhost",
        port: int = 6379,
        *,
        user: str = "",
        password: str = "",
        database: int = 0,
        tls: bool = False,
        tls_ca: str = "",
        tls_verify: bool = True,
        lease: float = 60.0,
        ttl: Mapping[str, float] | None = None,
    ) -> None:
        self._server = Server(
            host, port, user, password, database, tls=tls, tls_ca=tls_ca, tls_verify=tls_verify
        )
        self._lease = lease
        self._ttl = dict(ttl or {})
        self._link: Link | None = None
        self._warned = False
        self._consumers: list[RedisConsumer] = []

    def declare(self, queue: str) -> bool:
        with self._connection(queue) as link:
            self._kinds(link, queue)
            return any([link.create_group(lane(queue, high), GROUP) for high in (True, False)])

    def is_declared(self, queue: str) -> bool:
        with self._connection(queue) as link:
            if b"none" in self._kinds(link, queue):
                return False
            groups = link.calls([("XINFO", "GROUPS", lane(queue, high)) for high in (True, False)])
            return all(GROUP.encode() in [one[1] for one in found] for found in groups)

    def advice(self) -> list[str]:
        """What the server may lose by the way it is set up, and the way out."""
        with self._connection("") as link:
            return [f"{self._server.name}: {line}" for _, line in shortcomings(link)]

    def publish(self, queue: str, messages: Sequence[Message]) -> None:
        with self._connection(queue) as link:
            self._warn(link)
            for chunk in _chunks(messages):
                added = link.transaction([addition(lane(queue, one.high), one) for one in chunk])
                if None in added:
                    raise self._server.no_queue(queue)

    def consume(self, queue: str, *, prefetch: int = 200) -> RedisConsumer:
        with self._connection(queue) as link:
            self._warn(link)
        consumer = RedisConsumer(self._server, queue, prefetch, self._lease, self._ttl.get(queue))
        self._consumers = [one for one in self._consumers if not one.is_closed]
        self._consumers.append(consumer)
        return consumer

    def depth(self, queue: str) -> Depth:
        """Exact, however many messages are waiting. `consumers` are those that are connected now, None where
        the account may not see them. What a crashed one holds is `in_flight` until another notices."""
        with self._connection(queue) as link:
            high, normal = (_depth(link, lane(queue, high)) for high in (True, False))
            now, in_grave = link.calls([("TIME",), ("XLEN", dead(queue))])
            (clients,) = link.ask([("CLIENT", "LIST")])
        oldest = min(high.oldest + normal.oldest, default=None)
        return Depth(
            ready=high.ready + normal.ready,
            ready_high=high.ready,
            in_flight=high.in_flight + normal.in_flight,
            dead=in_grave,
            consumers=None if clients is None else len(connected(clients, queue, self._server.database)),
            oldest_age=0.0 if oldest is None else max(0.0, int(now[0]) + int(now[1]) / 1e6 - oldest / 1000),
        )

    def dead_letters(self, queue: str, *, limit: int = 50, reason: str | None = None) -> list[DeadLetter]:
        with self._connection(queue) as link:
            return [dead_letter(*one) for one in islice(self._dead(link, queue, reason), limit)]

    def requeue_dead(self, queue: str, *, limit: int | None = None, reason: str | None = None) -> int:
        moved = 0
        with self._connection(queue) as link:
            chosen = islice(self._dead(link, queue, reason), limit)
            while ids := [id_ for id_, _ in islice(chosen, CHUNK)]:
                keys = (dead(queue), lane(queue, True), lane(queue, False))
                moved += link.call("EVAL", REQUEUE, len(keys), *keys, *ids)
        return moved

    def purge_dead(self, queue: str, *, reason: str | None = None) -> int:
        dropped = 0
        with self._connection(queue) as link:
            if not reason:
                self._check(link, queue)
                return int(link.call("XTRIM", dead(queue), "MAXLEN", 0))
            chosen = self._dead(link, queue, reason)
            while ids := [id_ for id_, _ in islice(chosen, CHUNK)]:
                dropped += link.call("XDEL", dead(queue), *ids)
        return dropped

    def purge(self, queue: str) -> int:
        total = 0
        with self._connection(queue) as link:
            self._check(link, queue)
            for key in (lane(queue, True), lane(queue, False)):
                upto = fields(link.call("XINFO", "STREAM", key))[b"last-generated-id"]
                found = 1
                while found:
                    dropped, found = link.call("EVAL", PURGE, 1, key, GROUP, upto, CHUNK)
                    total += dropped
        return total

    def close(self) -> None:
        while self._consumers:
            self._consumers.pop().close()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    @contextmanager
    def _connection(self, queue: str) -> Iterator[Link]:
        """The broker's own connection, a new one if the last was lost."""
        try:
            with self._server.errors(queue):
                if self._link is None or not self._link.is_usable():
                    self._disconnect()
                    self._link = self._server.connect("labmon")
                yield self._link
        except BrokerUnavailable:
            self._disconnect()
            raise

    def _warn(self, link: Link) -> None:
        if not self._warned:
            self._warned = True
            for level, line in shortcomings(link):
                log_once(level, f"{self._server.name}: {line}")

    def _kinds(self, link: Link, queue: str) -> list[bytes]:
        """What its lanes are: a stream, or none. Raises BrokerRefused when something else is in the way."""
        keys = (lane(queue, True), lane(queue, False), dead(queue))
        kinds = link.calls([("TYPE", key) for key in keys])
        for key, kind in zip(keys, kinds, strict=True):
            if kind not in (b"none", b"stream"):
                raise self._server.in_the_way(queue, key, f"a {kind.decode()}")
        return kinds[:2]

    def _check(self, link: Link, queue: str) -> None:
        """Raises what the driver raises when nobody declared the queue."""
        link.calls([("XPENDING", lane(queue, high), GROUP) for high in (True, False)])

    def _dead(self, link: Link, queue: str, reason: str | None) -> Iterator[tuple[bytes, list[bytes]]]:
        """The ids and fields of the dead letters of now, oldest first; not of those that die meanwhile."""
        self._check(link, queue)
        wanted = storable(reason or "")
        last = link.call("XREVRANGE", dead(queue), "+", "-", "COUNT", 1)
        after = b"0"
        while last:
            found = link.call("XRANGE", dead(queue), b"(" + after, last[0][0], "COUNT", CHUNK)
            for id_, flat in found:
                if fields(flat).get(b"reason", b"").startswith(wanted):
                    yield id_, flat
            if len(found) < CHUNK:
                break
            after = found[-1][0]


class _LaneDepth(NamedTuple):
    ready: int
    in_flight: int
    oldest: list[int]  #: when the oldest of those that are ready were added; milliseconds


def _depth(link: Link, key: str) -> _LaneDepth:
    length, (pending, _, _, owners), given_back, groups = link.calls(
        [
            ("XLEN", key),
            ("XPENDING", key, GROUP),
            ("XPENDING", key, GROUP, "-", "+", 1, RELEASED),
            ("XINFO", "GROUPS", key),
        ]
    )
    about = next(one for one in map(fields, groups) if one[b"name"] == GROUP.encode())
    waiting = link.call("XRANGE", key, b"(" + about[b"last-delivered-id"], "+", "COUNT", 1)
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
