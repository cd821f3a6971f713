"""Consuming from PostgreSQL: rows claimed with a lease, which every settling names."""

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection

from labmon.brokers.base import HELD_BYTES, Delivery, Message
from labmon.brokers.leased import LeasedConsumer
from labmon.brokers.postgres.session import LOCK_CLASS, PostgresEndpoint, channel, storable, utc

POLL = (0.1, 1.0)
"""Seconds between looks at a queue that seems empty: at first, then doubling up to this. A notification wakes
the consumer at once; these looks find what came unannounced: leases that ended, messages put in by SQL."""

REWIND_EVERY = 1.0
"""Seconds. In between, a claim starts where the last one ended and need not step over what is gone: a hundred
thousand dead rows, which a long transaction elsewhere keeps from being removed, cost 15 ms each time."""


class _Tag(NamedTuple):
    id: int
    high: bool
    lease: int
    ends: float  #: of the lease, by the local monotonic clock
    size: int  #: bytes of the body


class PostgresConsumer(LeasedConsumer):
    """What `PostgresBroker.consume` returns. Has a connection of its own, which LISTENs."""

    def __init__(
        self,
        server: PostgresEndpoint,
        queue: str,
        number: int,
        prefetch: int,
        lease: float,
        ttl: float | None,
    ) -> None:
        super().__init__(queue, prefetch, lease, ttl)
        self._server = server
        self._held: set[_Tag] = set()
        self._after = {True: 0, False: 0}
        self._rewind_at = 0.0
        with server.errors():
            self._session = server.connect("labmon consumer")
            try:
                # A claim or an ack that a crash of the server undoes is harmless: the message comes again.
                self._session.execute("SET synchronous_commit = off")
                self._session.execute("SELECT pg_try_advisory_lock_shared(%s, %s)", (LOCK_CLASS, number))
                self._session.execute(f"LISTEN {channel(number)}".encode())
                self._session.execute(
                    "DELETE FROM labmon_queue_lease WHERE (lease, high) IN (SELECT lease, high "
                    "FROM labmon_queue_lease WHERE leased_until < now() FOR UPDATE SKIP LOCKED)"
                )
            except BaseException:
                self._session.close()
                raise

    def receive(self, limit: int, timeout: float) -> list[Delivery]:
        deadline = time.monotonic() + timeout
        pause, longest = POLL
        with self._server.errors():
            while not (deliveries := self._claim(limit)):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                for _ in self._session.notifies(timeout=min(pause, left), stop_after=1):
                    pass
                pause = min(2 * pause, longest)
            return deliveries

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        with self._server.errors():
            self._settle(self._session, "ack", deliveries)

    def release(self, deliveries: Sequence[Delivery], *, failed: bool = False) -> None:
        with self._server.errors():
            self._settle(self._session, "release", deliveries, failed)
        self._rewind_at = 0.0

    def reject(self, deliveries: Sequence[Delivery], reason: str, error: str = "") -> None:
        with self._server.errors():
            self._settle(self._session, "reject", deliveries, storable(reason), storable(error))

    def close(self) -> None:
        try:
            if self._held and not self._session.closed:
                held, self._held = self._held, set()
                self._call(self._session, "release", held, False)
        except psycopg.Error:
            pass  # Their leases end by themselves.
        self._session.close()

    @property
    def is_closed(self) -> bool:
        """True after `close`, and once the connection is lost."""
        return self._session.closed

    def can_ack_within(self, connection: Connection[Any]) -> bool:
        """True when the connection is to the database, and the tables, that this queue is in."""
        whoami = """
            SELECT pg_postmaster_start_time(), to_regclass('labmon_queue')::oid,
                   (SELECT oid FROM pg_database WHERE datname = current_database())
        """
        with self._server.errors():
            ours = self._session.execute(whoami).fetchone()
        return ours == connection.execute(whoami).fetchone()

    def ack_within(self, connection: Connection[Any], deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Ack in the caller's transaction, with what it stores: both are committed, or neither.

        Only on a connection of which `can_ack_within` is true. Returns the deliveries whose lease was lost:
        another consumer has them or has settled them. Where storing twice is harmless, commit all the same.
        After a rollback, `release` them. Raises psycopg.Error, since the connection is the caller's.
        """
        return self._settle(connection, "ack", deliveries)

    def _claim(self, limit: int) -> list[Delivery]:
        now = time.monotonic()
        self._held = {tag for tag in self._held if tag.ends > now}
        limit = min(limit, self._prefetch - len(self._held))
        room_bytes = HELD_BYTES - sum(tag.size for tag in self._held)
        if limit <= 0 or room_bytes <= 0:
            return []
        if now < self._rewind_at:
            return self._fetch(limit, room_bytes, self._after)
        deliveries = self._fetch(limit, room_bytes, {True: 0, False: 0})
        # Where it takes long it is done less often, so that it never takes more than a twentieth of the time.
        self._rewind_at = now + max(REWIND_EVERY, 20 * (time.monotonic() - now))
        return deliveries

    def _fetch(self, limit: int, room_bytes: int, after: Mapping[bool, int]) -> list[Delivery]:
        lease = secrets.randbits(62) + 1
        ends = time.monotonic() + self._lease
        with self._session.cursor(binary=True) as cursor:
            cursor.execute(
                "SELECT * FROM labmon_queue_claim(%s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    *(self._queue, limit, self._share.keep(limit)),
                    *(after[True], after[False], lease, self._lease, room_bytes),
                ),
            )
            rows = sorted(cursor.fetchall(), key=lambda row: (not row[0], row[1]))
        deliveries = []
        for high, id_, message_id, routing_key, body, attempts, enqueued_at, age in rows:
            tag = _Tag(id_, high, lease, ends, len(body))
            message = Message(message_id, body, routing_key, high)
            expired = self._ttl is not None and age is not None and age > self._ttl
            sent = enqueued_at and utc(enqueued_at)
            deliveries.append(Delivery(message, attempts, sent, expired, tag))
            self._after[high] = id_
            self._held.add(tag)
        self._share.took(sum(not one.message.high for one in deliveries))
        return deliveries

    def _settle(
        self, session: Connection[Any], how: str, deliveries: Sequence[Delivery], *details: Any
    ) -> list[Delivery]:
        """Settle those that are still ours. Returns the others."""
        if not deliveries:
            return []
        tags = {one.tag for one in deliveries}
        settled = self._call(session, how, tags, *details)
        self._held -= tags
        return [one for one in deliveries if one.tag.id not in settled]

    def _call(self, session: Connection[Any], how: str, tags: set[_Tag], *details: Any) -> set[int]:
        ordered = list(tags)
        places = ", ".join(["%s::boolean[]", "%s::bigint[]", "%s::bigint[]", *["%s"] * len(details)])
        row = session.execute(
            f"SELECT labmon_queue_{how}(%s, {places})".encode(),
            (
                self._queue,
                [tag.high for tag in ordered],
                [tag.id for tag in ordered],
                [tag.lease for tag in ordered],
                *details,
            ),
        ).fetchone()
        assert row is not None
        return set(row[0])
