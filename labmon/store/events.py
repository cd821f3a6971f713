"""Every accepted message as it came: for audit, and to run through the handlers again.

A message that is published twice is two events; one that the broker delivers again, since a worker could not
acknowledge it, is one. What was stored together is one row of `event_batches`; the view `events` has a row
for each message.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from psycopg import Connection
from psycopg.rows import class_row

from labmon.store.metrics import partitions


class _About(msgspec.Struct):
    system_id: int | None = None


_about = msgspec.json.Decoder(_About)


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Messages that were stored together."""

    received_at: datetime
    place: str  #: in its table: with the time, what the next page begins after
    bodies: list[bytes]


@dataclass(frozen=True, slots=True)
class Event:
    """One message."""

    received_at: datetime
    queue: str
    system_id: int | None
    body: str


LOOK_BACK = timedelta(days=1)
"""How far back at most a redelivered message is looked for."""

CLOCKS = timedelta(hours=1)
"""By how much the clock that stamped a message may be ahead of the database's."""


def known(
    connection: Connection[Any], queue: str, bodies: Mapping[bytes, datetime], now: datetime
) -> set[bytes]:
    """Those bodies that are events of the queue already; each with the earliest time that this can have been.

    Reads every event since then: for the few messages that a broker delivers again.
    """
    if not bodies:
        return set()
    since = max(min(*bodies.values(), now), now - LOOK_BACK) - CLOCKS
    rows = connection.execute(
        "SELECT DISTINCT body FROM event_batches, unnest(bodies) AS body "
        "WHERE queue = %s AND received_at >= %s AND body = ANY(%s::bytea[])",
        [queue, since, list(bodies)],
    )
    return {bytes(row[0]) for row in rows}


def record(connection: Connection[Any], queue: str, bodies: Sequence[bytes], now: datetime) -> None:
    """Keep accepted messages, in the caller's transaction, as received `now`."""
    if not bodies:
        return
    partitions.make(connection, "event_batches", [now.date()])
    connection.execute(
        "INSERT INTO event_batches (received_at, queue, systems, bodies) VALUES (%s, %s, %b, %b)",
        [now, queue, [_system_of(body) for body in bodies], list(bodies)],
    )


def _system_of(body: bytes) -> int | None:
    try:
        found = _about.decode(body).system_id
    except msgspec.MsgspecError:  # in a message that has no such field for labmon, it may be anything
        return None
    return found if found is not None and 0 <= found < 2**31 else None


_OF = """
    queue = %(queue)s AND received_at >= %(first)s AND received_at < %(past)s
    AND (%(system)s::integer IS NULL OR systems && (SELECT labmon_parts(ARRAY[%(system)s::integer])))
"""


def count(
    connection: Connection[Any], queue: str, first: datetime, past: datetime, *, system: int | None = None
) -> int:
    """How many messages came to a queue in first <= time < past, of all systems or of one."""
    row = connection.execute(
        "SELECT COALESCE(sum(CASE WHEN %(system)s::integer IS NULL THEN cardinality(systems) "
        "ELSE (SELECT count(*) FROM unnest(systems) AS one "
        "WHERE one = ANY ((SELECT labmon_parts(ARRAY[%(system)s::integer]))::integer[])) END), 0) "
        f"FROM event_batches WHERE {_OF}",
        {"queue": queue, "first": first, "past": past, "system": system},
    ).fetchone()
    return int(row[0]) if row else 0


def page(
    connection: Connection[Any],
    queue: str,
    first: datetime,
    past: datetime,
    *,
    system: int | None = None,
    after: EventBatch | None = None,
    limit: int = 20,
) -> list[EventBatch]:
    """The next batches in the order in which they came, with the messages of one system alone if given."""
    known = {"queue": queue, "first": first, "past": past, "system": system, "limit": limit}
    known |= {"after": after.received_at if after else first, "place": after.place if after else "(0,0)"}
    with connection.cursor(row_factory=class_row(EventBatch), binary=True) as cursor:
        cursor.execute(
            f"""
            SELECT received_at, ctid::text AS place, CASE WHEN %(system)s::integer IS NULL THEN bodies ELSE (
                SELECT array_agg(body ORDER BY n)
                FROM unnest(systems, bodies) WITH ORDINALITY AS one (system_id, body, n)
                WHERE system_id = ANY ((SELECT labmon_parts(ARRAY[%(system)s::integer]))::integer[])
            ) END AS bodies
            FROM event_batches
            WHERE {_OF} AND received_at >= %(after)s AND (received_at, ctid) > (%(after)s, %(place)s::tid)
            ORDER BY received_at, ctid LIMIT %(limit)s
            """,
            known,
        )
        return cursor.fetchall()


def newest(
    connection: Connection[Any],
    *,
    queue: str | None = None,
    first: datetime | None = None,
    past: datetime | None = None,
    system: int | None = None,
    limit: int = 100,
) -> list[Event]:
    """The newest `limit` messages, oldest first; None does not restrict."""
    with connection.cursor(row_factory=class_row(Event)) as cursor:
        cursor.execute(
            """
            SELECT received_at, queue, system_id, body FROM (
                SELECT received_at, queue, one.system_id, labmon_body_text(one.body) AS body, n
                FROM event_batches, unnest(systems, bodies) WITH ORDINALITY AS one (system_id, body, n)
                WHERE (%(queue)s::text IS NULL OR queue = %(queue)s)
                  AND received_at >= COALESCE(%(first)s::timestamptz, '-infinity')
                  AND received_at < COALESCE(%(past)s::timestamptz, 'infinity')
                  AND (%(system)s::integer IS NULL
                       OR one.system_id = ANY ((SELECT labmon_parts(ARRAY[%(system)s::integer]))::integer[]))
                ORDER BY received_at DESC, n DESC LIMIT %(limit)s
            ) newest ORDER BY received_at, n
            """,
            {"queue": queue, "first": first, "past": past, "system": system, "limit": limit},
        )
        return cursor.fetchall()
