"""The queue in a PostgreSQL database, 14 or later: tables and functions of `postgres.sql`, driven by psycopg.

A claim is an UPDATE with a lease, committed at once, so that no transaction is open while somebody works.
Every settling names the lease, so that one who was too slow removes nothing that another has taken.
"""

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection

from labmon.brokers.base import Broker, Consumer, DeadLetter, Delivery, Depth, LaneShare, Message
from labmon.brokers.postgres_session import Server, channel, notify, storable
from labmon.errors import BrokerRefused, BrokerUnavailable

SCHEMA_VERSION = 1
"""What `labmon_queue_version()` says in the `postgres.sql` beside this file."""

POLL = (0.1, 1.0)
"""Seconds between looks at a queue that seems empty: at first, then doubling up to this. A notification wakes
the consumer at once; these looks find what came unannounced: leases that ended, messages put in by SQL."""

REWIND_EVERY = 1.0
"""Seconds. In between, a claim starts where the last one ended and need not step over what is gone: a hundred
thousand dead rows, which a long transaction elsewhere keeps from being removed, cost 15 ms each time."""

CHUNK = 5000
"""Rows that one statement moves or drops when there may be very many."""

LOCK_CLASS = int.from_bytes(b"labm", "big")
"""Advisory locks: (class, 0) is held while tables are made, (class, number) by each consumer of a queue."""


class PostgresBroker(Broker):
    """Connects when it is first used. `ttl` gives the seconds after which a queue's messages are expired."""

    def __init__(self, conninfo: str, *, lease: float = 60.0, ttl: Mapping[str, float] | None = None) -> None:
        self._server = Server(conninfo)
        self._lease = lease
        self._ttl = dict(ttl or {})
        self._session: Connection[Any] | None = None
        self._numbers: dict[str, int] = {}
        self._consumers: list[PostgresConsumer] = []

    def is_declared(self, queue: str) -> bool:
        with self._connection() as session:
            return _version(session) >= SCHEMA_VERSION and self._find(session, queue) is not None

    def declare(self, queue: str) -> bool:
        if self.is_declared(queue):
            return False
        with self._connection() as session:
            with session.transaction():
                session.execute("SELECT pg_advisory_xact_lock(%s, 0)", (LOCK_CLASS,))
                made = _version(session) < SCHEMA_VERSION
                if made:
                    session.execute(files("labmon.brokers").joinpath("postgres.sql").read_bytes())
                added = session.execute(
                    "INSERT INTO labmon_queue_name (queue) VALUES (%s) ON CONFLICT DO NOTHING", (queue,)
                )
                return made or added.rowcount > 0

    def publish(self, queue: str, messages: Sequence[Message]) -> None:
        if not messages:
            return
        with self._connection() as session:
            number = self._number(session, queue)
            with session.cursor() as cursor:
                columns = "queue, high, message_id, routing_key, body"
                with cursor.copy(f"COPY labmon_queue ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
                    copy.set_types(["text", "bool", "text", "text", "bytea"])
                    for one in messages:
                        copy.write_row((queue, one.high, one.id, one.routing_key, one.body))
            notify(self._server, session, number)

    def consume(self, queue: str, *, prefetch: int = 200) -> "PostgresConsumer":
        with self._connection() as session:
            number = self._number(session, queue)
        consumer = PostgresConsumer(self._server, queue, number, prefetch, self._lease, self._ttl.get(queue))
        self._consumers = [one for one in self._consumers if not one.is_closed]
        self._consumers.append(consumer)
        return consumer

    def depth(self, queue: str) -> Depth:
        """Exact, in a millisecond or so however many messages are waiting: they are not counted one by one.

        (`oldest_age` takes longer while a transaction elsewhere keeps the rows of settled messages from being
        removed: 0.2 s for 400,000 of them.) `consumers` are those connected now; a lease outlives its
        consumer, so `in_flight` may belong to one that is gone.
        """
        with self._connection() as session:
            self._number(session, queue)
            row = session.execute("SELECT * FROM labmon_queue_depth(%s)", (queue,)).fetchone()
            assert row is not None
            return Depth(*row)

    def dead_letters(self, queue: str, *, limit: int = 50, reason: str | None = None) -> list[DeadLetter]:
        with self._connection() as session, session.cursor(binary=True) as cursor:
            self._number(session, queue)
            cursor.execute(
                """
                SELECT message_id, body, routing_key, high, reason, error, attempts, died_at, enqueued_at
                FROM labmon_queue_dead
                WHERE queue = %(queue)s AND (%(reason)s::text IS NULL OR starts_with(reason, %(reason)s))
                ORDER BY id LIMIT %(limit)s
                """,
                {"queue": queue, "reason": reason, "limit": limit},
            )
            return [
                DeadLetter(Message(*message), reason, error, attempts, _utc(died_at), _utc(enqueued_at))
                for *message, reason, error, attempts, died_at, enqueued_at in cursor
            ]

    def requeue_dead(self, queue: str, *, limit: int | None = None, reason: str | None = None) -> int:
        moved = 0
        with self._connection() as session:
            number = self._number(session, queue)
            # Only up to the last of now: what fails again meanwhile would otherwise come round for ever.
            upto = self._one(session, "SELECT max(id) FROM labmon_queue_dead WHERE queue = %s", queue)
            while upto is not None and (limit is None or moved < limit):
                wanted = CHUNK if limit is None else min(CHUNK, limit - moved)
                requeued = session.execute(
                    """
                    WITH gone AS (
                        DELETE FROM labmon_queue_dead WHERE queue = %(queue)s AND id = ANY (ARRAY(
                            SELECT id FROM labmon_queue_dead
                            WHERE queue = %(queue)s AND id <= %(upto)s
                              AND (%(reason)s::text IS NULL OR starts_with(reason, %(reason)s))
                            ORDER BY id LIMIT %(wanted)s FOR UPDATE SKIP LOCKED))
                        RETURNING *
                    )
                    INSERT INTO labmon_queue (queue, high, message_id, routing_key, body)
                    SELECT queue, high, message_id, routing_key, body FROM gone ORDER BY id
                    """,
                    {"queue": queue, "upto": upto, "reason": reason, "wanted": wanted},
                ).rowcount
                if not requeued:
                    break
                moved += requeued
            if moved:
                notify(self._server, session, number)
        return moved

    def purge_dead(self, queue: str, *, reason: str | None = None) -> int:
        with self._connection() as session:
            self._number(session, queue)
            return session.execute(
                "DELETE FROM labmon_queue_dead WHERE queue = %(queue)s "
                "AND (%(reason)s::text IS NULL OR starts_with(reason, %(reason)s))",
                {"queue": queue, "reason": reason},
            ).rowcount

    def purge(self, queue: str) -> int:
        dropped = 0
        with self._connection() as session:
            self._number(session, queue)
            for high in (True, False):
                last: int | None = 0
                upto = self._one(
                    session, "SELECT max(id) FROM labmon_queue WHERE queue = %s AND high = %s", queue, high
                )
                while upto is not None and last is not None:
                    row = session.execute(
                        "SELECT dropped, last FROM labmon_queue_purge(%s, %s, %s, %s, %s)",
                        (queue, high, last, upto, CHUNK),
                    ).fetchone()
                    assert row is not None
                    dropped, last = dropped + row[0], row[1]
        return dropped

    def close(self) -> None:
        while self._consumers:
            self._consumers.pop().close()
        self._disconnect()

    def _disconnect(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    @contextmanager
    def _connection(self) -> Iterator[Connection[Any]]:
        """The broker's own connection, a new one if the last was lost."""
        try:
            with self._server.errors():
                if self._session is None or self._session.closed:
                    self._session = self._server.connect("labmon queue")
                    # The account or the database may have it off, and then a confirmed message can be lost.
                    self._session.execute(
                        "SELECT set_config('synchronous_commit', 'on', false) "
                        "WHERE current_setting('synchronous_commit') = 'off'"
                    )
                yield self._session
        except BrokerUnavailable:
            self._disconnect()
            raise

    def _number(self, session: Connection[Any], queue: str) -> int:
        if queue not in self._numbers:
            number = self._find(session, queue)
            if number is None:
                raise BrokerRefused(
                    f"{self._server.name}: there is no queue {queue}. Make it with: labmon setup-queues"
                )
            self._numbers[queue] = number
        return self._numbers[queue]

    def _find(self, session: Connection[Any], queue: str) -> int | None:
        number: int | None = self._one(
            session, "SELECT number FROM labmon_queue_name WHERE queue = %s", queue
        )
        return number

    @staticmethod
    def _one(session: Connection[Any], query: str, *values: Any) -> Any:
        row = session.execute(query.encode(), values).fetchone()
        return row and row[0]


def _version(session: Connection[Any]) -> int:
    """Of the tables and functions in the database; 0 when there are none."""
    row = session.execute("SELECT to_regproc('labmon_queue_version')").fetchone()
    if row is None or row[0] is None:
        return 0
    row = session.execute("SELECT labmon_queue_version()").fetchone()
    assert row is not None
    return int(row[0])


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


class _Tag(NamedTuple):
    id: int
    high: bool
    lease: int
    ends: float  #: of the lease, by the local monotonic clock


class PostgresConsumer(Consumer):
    """What `PostgresBroker.consume` returns. Has a connection of its own, which LISTENs."""

    def __init__(
        self, server: Server, queue: str, number: int, prefetch: int, lease: float, ttl: float | None
    ) -> None:
        self._server = server
        self._queue = queue
        self._prefetch = prefetch
        self._lease = lease
        self._ttl = ttl
        self._share = LaneShare()
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
        somebody else has them or has settled them. Where storing twice is harmless, commit all the same.
        After a rollback, `release` them. Raises psycopg.Error, since the connection is the caller's.
        """
        return self._settle(connection, "ack", deliveries)

    def _claim(self, limit: int) -> list[Delivery]:
        now = time.monotonic()
        self._held = {tag for tag in self._held if tag.ends > now}
        limit = min(limit, self._prefetch - len(self._held))
        if limit <= 0:
            return []
        if now < self._rewind_at:
            return self._fetch(limit, self._after)
        deliveries = self._fetch(limit, {True: 0, False: 0})
        # Where it takes long it is done less often, so that it never takes more than a twentieth of the time.
        self._rewind_at = now + max(REWIND_EVERY, 20 * (time.monotonic() - now))
        return deliveries

    def _fetch(self, limit: int, after: Mapping[bool, int]) -> list[Delivery]:
        lease = secrets.randbits(62) + 1
        ends = time.monotonic() + self._lease
        with self._session.cursor(binary=True) as cursor:
            cursor.execute(
                "SELECT * FROM labmon_queue_claim(%s, %s, %s, %s, %s, %s, %s)",
                (
                    *(self._queue, limit, self._share.keep(limit)),
                    *(after[True], after[False], lease, self._lease),
                ),
            )
            rows = sorted(cursor.fetchall(), key=lambda row: (not row[0], row[1]))
        deliveries = []
        for high, id_, message_id, routing_key, body, attempts, enqueued_at, age in rows:
            tag = _Tag(id_, high, lease, ends)
            message = Message(message_id, body, routing_key, high)
            expired = self._ttl is not None and age > self._ttl
            deliveries.append(Delivery(message, attempts, _utc(enqueued_at), expired, tag))
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
