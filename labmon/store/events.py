"""Every accepted message as it came: for audit, and to run through the handlers again.

A message that is delivered twice is two events, as it came twice; replaying both changes nothing more. What
was stored together is one row of `event_batches`; the view `events` has a row for each message.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Connection
from psycopg.rows import class_row

from labmon.messages import utcnow
from labmon.store import partitions


class _About(msgspec.Struct):
    system_id: int | None = None


_about = msgspec.json.Decoder(_About)


@dataclass(frozen=True, slots=True)
class Batch:
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


def record(connection: Connection[Any], queue: str, bodies: Sequence[bytes]) -> None:
    """Keep accepted messages, in the caller's transaction, as received now."""
    if not bodies:
        return
    now = utcnow()
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
    AND (%(system)s::integer IS NULL OR %(system)s = ANY (systems))
"""


def count(
    connection: Connection[Any], queue: str, first: datetime, past: datetime, *, system: int | None = None
) -> int:
    """How many messages came to a queue in first <= time < past, of all systems or of one."""
    row = connection.execute(
        "SELECT COALESCE(sum(CASE WHEN %(system)s::integer IS NULL THEN cardinality(systems) "
        "ELSE cardinality(array_positions(systems, %(system)s)) END), 0) "
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
    after: Batch | None = None,
    limit: int = 20,
) -> list[Batch]:
    """The next batches in the order in which they came, with the messages of one system alone if given."""
    known = {"queue": queue, "first": first, "past": past, "system": system, "limit": limit}
    known |= {"after": after.received_at if after else first, "place": after.place if after else "(0,0)"}
    with connection.cursor(row_factory=class_row(Batch), binary=True) as cursor:
        cursor.execute(
            f"""
            SELECT received_at, ctid::text AS place, CASE WHEN %(system)s::integer IS NULL THEN bodies ELSE (
                SELECT array_agg(body ORDER BY n)
                FROM unnest(systems, bodies) WITH ORDINALITY AS one (system_id, body, n)
                WHERE system_id = %(system)s
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
                  AND (%(system)s::integer IS NULL OR one.system_id = %(system)s)
                ORDER BY received_at DESC, n DESC LIMIT %(limit)s
            ) newest ORDER BY received_at, n
            """,
            {"queue": queue, "first": first, "past": past, "system": system, "limit": limit},
        )
        return cursor.fetchall()
