"""The queue in a PostgreSQL database, 14 or later: tables and functions of `schema.sql`, driven by psycopg.

A claim is an UPDATE with a lease, committed at once, so that no transaction stays open during the work.
Every settling names the lease, so that a consumer that was too slow removes nothing that another has taken.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.resources import files
from typing import Any

from psycopg import Connection

from labmon import pg
from labmon.brokers.base import Broker, DeadLetter, Depth, Ids, Message
from labmon.brokers.kept import KeptConnection
from labmon.brokers.postgres.consumer import PostgresConsumer
from labmon.brokers.postgres.session import LOCK_CLASS, PostgresEndpoint, notify, storable, utc
from labmon.errors import BrokerError, BrokerRefused, BrokerUnavailable

SCHEMA_VERSION = 2
"""What `labmon_queue_version()` says in the `schema.sql` beside this file."""

CHUNK = 5000
"""Rows that one statement moves or drops when there may be very many."""


class PostgresBroker(Broker):
    """Connects when it is first used. `ttl` gives the seconds after which a queue's messages are expired."""

    def __init__(self, conninfo: str, *, lease: float = 60.0, ttl: Mapping[str, float] | None = None) -> None:
        self._server = PostgresEndpoint(conninfo)
        self._lease = lease
        self._ttl = dict(ttl or {})
        self._kept = KeptConnection(self._connect, lambda session: not session.closed)
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
                    session.execute(files("labmon.brokers.postgres").joinpath("schema.sql").read_bytes())
                added = session.execute(
                    "INSERT INTO labmon_queue_name (queue) VALUES (%s) ON CONFLICT DO NOTHING", (queue,)
                )
                return made or added.rowcount > 0

    def refusal(self, queue: str) -> BrokerError | None:
        try:
            with self._connection() as session:
                if not pg.is_read_only(session):
                    return None
        except BrokerError as error:
            return error
        return BrokerUnavailable(f"{self._server.name}: read-only. {pg.WRITABLE}")

    def server_version(self) -> str:
        with self._connection() as session:
            number = session.info.server_version
        return f"PostgreSQL {number // 10000}.{number % 10000}"

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

    def consume(self, queue: str, *, prefetch: int = 200) -> PostgresConsumer:
        with self._connection() as session:
            number = self._number(session, queue)
        consumer = PostgresConsumer(self._server, queue, number, prefetch, self._lease, self._ttl.get(queue))
        self._consumers = [one for one in self._consumers if not one.is_closed]
        self._consumers.append(consumer)
        return consumer

    def depth(self, queue: str) -> Depth:
        """Exact, in a millisecond or so however many messages are waiting: they are not counted one by one.

        (`oldest_age_seconds` takes longer while a transaction elsewhere keeps the rows of settled messages
        from being removed: 0.2 s for 400,000 of them.) `consumers` are those connected now; a lease outlives
        its consumer, so `in_flight` may belong to one that is gone.
        """
        with self._connection() as session:
            self._number(session, queue)
            row = session.execute("SELECT * FROM labmon_queue_depth(%s)", (queue,)).fetchone()
            assert row is not None
            return Depth(*row)

    def dead_letters(
        self, queue: str, *, limit: int = 50, reason: str | None = None, id: str | None = None
    ) -> list[DeadLetter]:
        with self._connection() as session, session.cursor(binary=True) as cursor:
            self._number(session, queue)
            cursor.execute(
                """
                SELECT message_id, body, routing_key, high, reason, error, attempts,
                       coalesce(labmon_queue_time(died_at), now()), labmon_queue_time(enqueued_at)
                FROM labmon_queue_dead
                WHERE queue = %(queue)s AND (%(reason)s::text IS NULL OR starts_with(reason, %(reason)s))
                      AND (%(id)s::text IS NULL OR starts_with(message_id, %(id)s))
                ORDER BY id LIMIT %(limit)s
                """,
                {"queue": queue, "reason": _storable(reason), "id": _storable(id), "limit": limit},
            )
            return [
                DeadLetter(
                    Message(*message), reason, error, attempts, utc(died_at), enqueued_at and utc(enqueued_at)
                )
                for *message, reason, error, attempts, died_at, enqueued_at in cursor
            ]

    def count_dead(self, queue: str, *, limit: int | None = None, reason: str | None = None) -> int:
        with self._connection() as session:
            self._number(session, queue)
            row = session.execute(
                """
                SELECT count(*) FROM (
                    SELECT FROM labmon_queue_dead
                    WHERE queue = %(queue)s AND (%(reason)s::text IS NULL OR starts_with(reason, %(reason)s))
                    LIMIT %(limit)s) AS chosen
                """,
                {"queue": queue, "reason": _storable(reason), "limit": limit},
            ).fetchone()
            assert row is not None
            return int(row[0])

    def requeue_dead(
        self, queue: str, *, limit: int | None = None, reason: str | None = None, ids: Ids = None
    ) -> int:
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
                              AND (%(ids)s::text[] IS NULL OR message_id = ANY (%(ids)s))
                            ORDER BY id LIMIT %(wanted)s FOR UPDATE SKIP LOCKED))
                        RETURNING *
                    )
                    INSERT INTO labmon_queue (queue, high, message_id, routing_key, body)
                    SELECT queue, high, message_id, routing_key, body FROM gone ORDER BY id
                    """,
                    {
                        "queue": queue,
                        "upto": upto,
                        "reason": _storable(reason),
                        "ids": _all_storable(ids),
                        "wanted": wanted,
                    },
                ).rowcount
                if not requeued:
                    break
                moved += requeued
            if moved:
                notify(self._server, session, number)
        return moved

    def purge_dead(self, queue: str, *, reason: str | None = None, ids: Ids = None) -> int:
        with self._connection() as session:
            self._number(session, queue)
            return session.execute(
                "DELETE FROM labmon_queue_dead WHERE queue = %(queue)s "
                "AND (%(reason)s::text IS NULL OR starts_with(reason, %(reason)s)) "
                "AND (%(ids)s::text[] IS NULL OR message_id = ANY (%(ids)s))",
                {"queue": queue, "reason": _storable(reason), "ids": _all_storable(ids)},
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
        self._kept.close()

    def _connection(self) -> AbstractContextManager[Connection[Any]]:
        return self._kept.use(self._server.errors())

    def _connect(self) -> Connection[Any]:
        session = self._server.connect("labmon queue")
        try:
            # The account or the database may have it off, and then a confirmed message can be lost.
            session.execute(
                "SELECT set_config('synchronous_commit', 'on', false) "
                "WHERE current_setting('synchronous_commit') = 'off'"
            )
        except BaseException:
            session.close()
            raise
        return session

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


def _storable(text: str | None) -> str | None:
    return None if text is None else storable(text)


def _all_storable(texts: Ids) -> list[str] | None:
    return None if texts is None else [storable(text) for text in texts]
