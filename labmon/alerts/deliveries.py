"""Deliveries: which target is to receive which alert, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec
from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from labmon.config.tables import NotifyTarget
from labmon.messages import Alert

State = Literal["waiting", "held", "sent", "superseded", "withdrawn", "failed"]


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What an alert is about, in people's words, and where that belongs, for the choice of targets."""

    name: str
    place: str | None = None
    dept_id: int | None = None
    lab_id: int | None = None
    departments: frozenset[int] = frozenset()  #: whatever it touches: its own, and of the systems under it
    labs: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Delivery:
    """An alert on its way to one target."""

    delivery_id: int
    target: str
    alert: Alert
    about: str
    place: str | None
    created_at: datetime
    state: State
    settled_at: datetime | None
    attempts: int
    error: str | None  #: of the last attempt; or why it is held or was withdrawn


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for one target, and what is known of it."""

    target: str
    oldest: datetime
    oldest_critical: datetime | None
    sent_at: datetime | None
    failures: int
    not_before: datetime | None


def whereabouts(connection: Connection[Any], alerts: Sequence[Alert]) -> list[Whereabouts]:
    """One for each alert, in their order.

    An alert that stands for many touches the departments and labs of all the systems under it, so that
    a target of one of these receives the alert that stands for all. For the same reason `collector_down`,
    which mutes all that is silent, concerns every machine that is measured.
    """
    rows = connection.execute(
        """
        SELECT COALESCE(hostname || ' (' || host(ip_address) || ')', hostname, host(ip_address),
                   CASE WHEN asked.lab_id IS NOT NULL THEN labs.name END, asked.subject,
                   CASE asked.system_id WHEN 0 THEN 'labmon' ELSE 'system ' || asked.system_id END),
               COALESCE(labs.name, departments.name, departments.code, under.names),
               departments.dept_id, labs.lab_id,
               array_remove(under.departments || departments.dept_id, NULL),
               array_remove(under.labs || labs.lab_id, NULL)
        FROM unnest(%s::integer[], %s::text[], %s::integer[], %s::integer[], %s::bigint[])
             WITH ORDINALITY AS asked (system_id, subject, dept_id, lab_id, alert_id, place)
        LEFT JOIN systems ON systems.system_id = asked.system_id
        LEFT JOIN labs ON labs.lab_id = COALESCE(systems.lab_id, asked.lab_id)
        LEFT JOIN departments ON departments.dept_id = COALESCE(systems.dept_id, labs.dept_id, asked.dept_id)
        LEFT JOIN alert_incidents AS incident ON incident.alert_id = asked.alert_id,
            LATERAL (
                SELECT array_agg(DISTINCT dept_id) AS departments, array_agg(DISTINCT lab_id) AS labs,
                       CASE WHEN incident.kind <> 'collector_down' AND count(DISTINCT dept_id) <= 3 THEN
                           string_agg(DISTINCT COALESCE(name, code), ', ') END AS names
                FROM (
                    SELECT system_id FROM alert_covers WHERE alert_covers.alert_id = incident.alert_id
                    UNION ALL
                    SELECT system_id FROM systems
                    WHERE incident.kind = 'collector_down' AND last_collected IS NOT NULL
                ) AS cover JOIN systems USING (system_id) LEFT JOIN departments USING (dept_id)
            ) AS under
        ORDER BY asked.place
        """,
        [
            [one.system_id for one in alerts],
            [one.subject for one in alerts],
            [one.dept_id for one in alerts],
            [one.lab_id for one in alerts],
            [one.alert_id for one in alerts],
        ],
    )
    return [
        Whereabouts(name, place, dept, lab, frozenset(departments), frozenset(labs))
        for name, place, dept, lab, departments, labs in rows
    ]


def add(connection: Connection[Any], made: Sequence[tuple[NotifyTarget, Alert, Whereabouts]]) -> None:
    """Queue an alert for each target, in the caller's transaction, and wake the notifier.

    For a target with `after` it is held until the alert is that old; `release` then queues it.
    """
    if not made:
        return
    with connection.cursor() as cursor:
        cursor.executemany(
            """
            INSERT INTO deliveries (target, alert, about, place, escalate_at, state, error)
            SELECT %(target)s, %(alert)s, %(about)s, %(place)s, due,
                   CASE WHEN due > now() THEN 'held' ELSE 'waiting' END,
                   CASE WHEN due > now() THEN %(why)s END
            FROM (SELECT CASE WHEN %(after)s::float8 > 0 THEN COALESCE(
                (SELECT min(escalate_at) FROM deliveries WHERE escalate_at IS NOT NULL
                 AND target = %(target)s AND alert ->> 'alert_id' = %(alert_id)s::text),
                now() + %(after)s::float8 * interval '1 s') END AS due) AS time
            """,
            [
                {
                    "target": target.name,
                    "alert": Jsonb(msgspec.to_builtins(alert)),
                    "about": about.name,
                    "place": about.place,
                    "after": float(target.after) if alert.state == "firing" else 0.0,
                    "alert_id": alert.alert_id,
                    "why": f"waits {target.after} for an acknowledgement",
                }
                for target, alert, about in made
            ],
        )
    connection.execute("NOTIFY labmon_deliveries")


def waiting(connection: Connection[Any]) -> list[Waiting]:
    """The targets for which something waits."""
    with connection.cursor(row_factory=class_row(Waiting)) as cursor:
        cursor.execute(
            """
            SELECT target, min(created_at) AS oldest,
                   min(created_at) FILTER (WHERE alert ->> 'severity' = 'critical') AS oldest_critical,
                   max(sent_at) AS sent_at, COALESCE(max(failures), 0) AS failures,
                   max(not_before) AS not_before
            FROM deliveries LEFT JOIN notified USING (target)
            WHERE state = 'waiting' GROUP BY target
            """
        )
        return cursor.fetchall()


_COLUMNS = ", ".join(Delivery.__dataclass_fields__)


def waiting_for(connection: Connection[Any], target: str, *, limit: int) -> list[Delivery]:
    """What waits for a target, oldest first."""
    return _deliveries(
        connection,
        f"SELECT {_COLUMNS} FROM deliveries WHERE state = 'waiting' AND target = %s "
        "ORDER BY created_at, delivery_id LIMIT %s",
        [target, limit],
    )


def still_firing(connection: Connection[Any], target: str) -> list[Delivery]:
    """The last delivery to a target of each alert that it has been notified of, and that still fires."""
    return _deliveries(
        connection,
        f"""
        SELECT newest.* FROM alert_incidents AS incident CROSS JOIN LATERAL (
            SELECT {_COLUMNS} FROM deliveries WHERE state = 'sent' AND target = %s
              AND alert ->> 'alert_id' = incident.alert_id::text AND alert -> 'state' IS NULL
            ORDER BY delivery_id DESC LIMIT 1
        ) AS newest
        WHERE resolved_at IS NULL AND fired_at IS NOT NULL ORDER BY delivery_id
        """,
        [target],
    )


def recent(
    connection: Connection[Any],
    *,
    state: str | None = None,
    target: str | None = None,
    alert: int | None = None,
    before: tuple[datetime, int] | None = None,
    limit: int,
) -> list[Delivery]:
    """The newest, of that state, for that target and about that alert where given; oldest first.

    `before`: only those before the delivery of this time and delivery_id.
    """
    return _deliveries(
        connection,
        f"""
        SELECT * FROM (
            SELECT {_COLUMNS} FROM deliveries
            WHERE (%(state)s::text IS NULL OR state = %(state)s)
              AND (%(target)s::text IS NULL OR target = %(target)s)
              AND (%(alert)s::bigint IS NULL OR (alert ->> 'alert_id')::bigint = %(alert)s)
              AND (%(at)s::timestamptz IS NULL OR (created_at, delivery_id) < (%(at)s, %(id)s::bigint))
            ORDER BY created_at DESC, delivery_id DESC LIMIT %(limit)s
        ) newest ORDER BY created_at, delivery_id
        """,
        {
            "state": state,
            "target": target,
            "alert": alert,
            "at": before and before[0],
            "id": before and before[1],
            "limit": limit,
        },
    )


def _deliveries(connection: Connection[Any], query: str, parameters: Any) -> list[Delivery]:
    rows = connection.execute(query.encode(), parameters)
    return [Delivery(row[0], row[1], msgspec.convert(row[2], Alert), *row[3:]) for row in rows]


def settle(connection: Connection[Any], ids: Sequence[int], state: State, error: str | None = None) -> None:
    """End deliveries: sent, superseded by newer ones, or given up."""
    connection.execute(
        "UPDATE deliveries SET state = %s, settled_at = now(), attempts = attempts + 1, error = %s "
        "WHERE delivery_id = ANY(%s) AND state = 'waiting'",
        [state, error, list(ids)],
    )


def withdraw(connection: Connection[Any], target: str, *, ends: bool, only_known: bool = False) -> list[int]:
    """Withdraw deliveries that no longer need a notification, in the caller's transaction. Returns their ids.

    These are alerts acknowledged in the meantime; resolved alerts, for a target without `ends`;
    and the end of what was taken back or is held; with `only_known`, of all that the target never heard of.
    """
    began = connection.execute(
        """
        UPDATE deliveries SET state = 'withdrawn', settled_at = now(), error = CASE
            WHEN acknowledged_at IS NOT NULL THEN 'acknowledged by ' || acknowledged_by
            ELSE 'resolved before it could be sent' END
        FROM alert_incidents AS incident
        WHERE target = %(target)s AND deliveries.state = 'waiting' AND alert -> 'state' IS NULL
          AND incident.alert_id = (alert ->> 'alert_id')::bigint
          AND (acknowledged_at IS NOT NULL OR resolved_at IS NOT NULL AND NOT %(ends)s)
        RETURNING delivery_id
        """,
        {"target": target, "ends": ends and not only_known},
    ).fetchall()
    ended = connection.execute(
        """
        UPDATE deliveries AS word
        SET state = 'withdrawn', settled_at = now(), error = 'its beginning was not sent'
        WHERE target = %(target)s AND state = 'waiting' AND alert ->> 'state' = 'resolved'
          AND (%(only_known)s OR EXISTS (
            SELECT FROM deliveries AS before WHERE target = %(target)s AND state IN ('withdrawn', 'held')
              AND alert ->> 'alert_id' = word.alert ->> 'alert_id'
        )) AND NOT EXISTS (
            SELECT FROM deliveries AS before WHERE target = %(target)s AND state = 'sent'
              AND alert ->> 'alert_id' = word.alert ->> 'alert_id')
        RETURNING delivery_id
        """,
        {"target": target, "only_known": only_known},
    ).fetchall()
    return [row[0] for row in began + ended]


def hold(connection: Connection[Any], target: str) -> list[int]:
    """Hold deliveries whose alerts were muted after they were queued, in the caller's transaction.

    The reasons are those that mute an alert before it is queued. `release` ends it. Returns their ids.
    """
    rows = connection.execute(
        """
        UPDATE deliveries SET state = 'held', error = why
        FROM labmon_alerts_muted(now(), ARRAY(
            SELECT (alert ->> 'alert_id')::bigint FROM deliveries
            WHERE target = %(target)s AND state = 'waiting'
        )) AS mute
        WHERE target = %(target)s AND state = 'waiting' AND (alert ->> 'alert_id')::bigint = mute.alert_id
        RETURNING delivery_id
        """,
        {"target": target},
    )
    return [row[0] for row in rows]


def release(connection: Connection[Any], now: datetime) -> int:
    """Send what is no longer muted, or that nobody has acknowledged in time, with the reason for the delay.
    Returns how many.

    Alerts that are over by now are withdrawn instead. In the caller's transaction, which is that of the tick:
    what the tick queues by itself at the end of a silence, such as repeats, is then sent together with it.
    """
    count = connection.execute(
        """
        WITH ready AS (
            SELECT delivery_id, error AS why, alert -> 'state' IS NULL AND resolved_at IS NOT NULL AS is_over
            FROM deliveries LEFT JOIN alert_incidents AS incident
                ON incident.alert_id = (alert ->> 'alert_id')::bigint
            WHERE deliveries.state = 'held' AND ((alert -> 'state' IS NULL AND resolved_at IS NOT NULL)
                OR (escalate_at IS NULL OR escalate_at <= %(now)s)
                AND (incident.alert_id IS NULL OR incident.alert_id NOT IN (
                    SELECT alert_id FROM labmon_alerts_muted(%(now)s, ARRAY(
                        SELECT (alert ->> 'alert_id')::bigint FROM deliveries WHERE state = 'held')))))
        )
        UPDATE deliveries SET
            state = CASE WHEN is_over THEN 'withdrawn' ELSE 'waiting' END,
            settled_at = CASE WHEN is_over THEN now() END,
            created_at = CASE WHEN is_over THEN created_at ELSE now() END,
            error = CASE WHEN is_over THEN 'resolved before it could be sent' END,
            alert = CASE WHEN is_over OR alert ? 'reason' THEN alert
                    ELSE alert || jsonb_build_object('reason', CASE WHEN escalate_at IS NULL
                         THEN 'held until now: ' || why ELSE 'nobody has acknowledged it' END) END
        FROM ready WHERE deliveries.delivery_id = ready.delivery_id AND state = 'held'
        """,
        {"now": now},
    ).rowcount
    if count:
        connection.execute("NOTIFY labmon_deliveries")
    return count


def postpone(
    connection: Connection[Any], target: str, ids: Sequence[int], error: str, not_before: datetime
) -> None:
    """Postpone everything for a target that could not be reached, until `not_before`."""
    connection.execute(
        "UPDATE deliveries SET attempts = attempts + 1, error = %s WHERE delivery_id = ANY(%s)",
        [error, list(ids)],
    )
    connection.execute(
        "INSERT INTO notified (target, failures, not_before) VALUES (%(target)s, 1, %(until)s) "
        "ON CONFLICT (target) DO UPDATE SET failures = notified.failures + 1, not_before = %(until)s",
        {"target": target, "until": not_before},
    )


def reached(connection: Connection[Any], target: str, at: datetime) -> None:
    """A notification has arrived at the target."""
    connection.execute(
        "INSERT INTO notified (target, sent_at) VALUES (%(target)s, %(at)s) "
        "ON CONFLICT (target) DO UPDATE SET sent_at = %(at)s, failures = 0, not_before = NULL",
        {"target": target, "at": at},
    )


def try_again(connection: Connection[Any], *, target: str | None = None) -> int:
    """Have those that failed sent after all. Returns how many."""
    count = connection.execute(
        "UPDATE deliveries SET state = 'waiting', settled_at = NULL, created_at = now() "
        "WHERE state = 'failed' AND (%(target)s::text IS NULL OR target = %(target)s)",
        {"target": target},
    ).rowcount
    connection.execute(
        "UPDATE notified SET not_before = NULL WHERE %(target)s::text IS NULL OR target = %(target)s",
        {"target": target},
    )
    connection.execute("NOTIFY labmon_deliveries")
    return count
