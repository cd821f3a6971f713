"""What the rules found: one incident from its first reading to its end, and what people said to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from labmon.store.inventory.maintenance import EVERYTHING, Scope


@dataclass(frozen=True, slots=True)
class Incident:
    """One time that a rule's condition held, as lists show it."""

    alert_id: int
    state: str  #: pending, firing, acknowledged, silenced, muted (all four: and still firing), resolved
    severity: str
    alert_type: str
    kind: str
    metric: str | None
    system_id: int  #: 0: none in particular
    subject: str  #: what it is about: the system's name or address, a lab, a network, a queue
    dept_id: int | None
    lab_id: int | None
    value: float  #: that made it fire
    value_now: float | None  #: the newest reading
    threshold: float
    since: datetime  #: the first reading over the threshold
    fired_at: datetime | None
    resolved_at: datetime | None
    reason: str | None  #: why it is over, where no reading said so
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    comment: str | None
    muted: str | None  #: why nothing is sent about it; of what is over, why nothing was
    repeats: int
    covered: int | None  #: systems under it
    note: str | None  #: the rule's, or what its sender says
    clear: float | None = None  #: the value at which it ends; None: at the threshold
    mount: str | None = None  #: the file system that it is about
    silenced_until: datetime | None = None  #: until when nothing is sent about it, by a silence


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happened to an incident."""

    at: datetime
    event: str  #: fired, told (notified), repeated, acknowledged, unacknowledged, resolved
    said_by: str | None
    comment: str | None


_SELECT = """
SELECT alert_id,
       CASE WHEN state <> 'firing' THEN state WHEN acknowledged_at IS NOT NULL THEN 'acknowledged'
            WHEN silenced_until IS NOT NULL THEN 'silenced' WHEN mute.why IS NOT NULL THEN 'muted'
            ELSE 'firing' END AS state,
       incident.severity, alert_type, incident.kind, metric, incident.system_id,
       COALESCE(hostname, host(ip_address), NULLIF(subject, ''), 'labmon') AS subject,
       COALESCE(incident.dept_id, systems.dept_id) AS dept_id,
       COALESCE(incident.lab_id, systems.lab_id) AS lab_id,
       incident.value,
       labmon_alert_mount(incident.system_id, subject, metric) AS mount,
       CASE WHEN resolved_at IS NULL AND incident.kind = 'threshold' AND subject <> '' THEN (
           SELECT used_percent FROM filesystems AS disk
           WHERE disk.system_id = incident.system_id AND disk.mount = subject)
       WHEN resolved_at IS NULL AND incident.kind = 'threshold' THEN (
           SELECT (to_jsonb(metrics) ->> metric)::real FROM metrics
           WHERE metrics.system_id = systems.system_id AND collected_at = last_collected) END AS value_now,
       incident.threshold, since, fired_at, resolved_at, reason, acknowledged_at, acknowledged_by, comment,
       CASE WHEN resolved_at IS NULL THEN mute.why ELSE muted END AS muted, repeats,
       COALESCE(incident.message, alert_rules.note) AS note,
       alert_rules.clear_threshold AS clear, silenced_until,
       (SELECT NULLIF(count(*), 0) FROM alert_covers WHERE alert_covers.alert_id = incident.alert_id)
       AS covered
FROM alert_incidents AS incident
LEFT JOIN systems ON systems.system_id = incident.system_id
LEFT JOIN alert_rules ON alert_rules.rule_id = incident.rule_id
LEFT JOIN LATERAL (
    SELECT max(quiet.ends_at) AS silenced_until FROM maintenance AS quiet
    WHERE mode = 'silence' AND quiet.starts_at <= now() AND quiet.ends_at > now()
      AND (quiet.rule IS NULL OR quiet.rule = alert_type)
      AND (num_nonnulls(quiet.dept_id, quiet.lab_id, quiet.system_id) = 0
           OR quiet.system_id = incident.system_id
           OR quiet.lab_id = COALESCE(incident.lab_id, systems.lab_id)
           OR quiet.dept_id = COALESCE(incident.dept_id, systems.dept_id))
) AS silence ON resolved_at IS NULL
LEFT JOIN labmon_alerts_muted(now(), ARRAY(
    SELECT alert_id FROM alert_incidents WHERE resolved_at IS NULL AND fired_at IS NOT NULL
)) AS mute USING (alert_id)
"""

# What touches a department, a lab or a system: what is about it, and what has one of its systems under it.
_WITHIN = """
(num_nonnulls(%(dept)s::integer, %(lab)s::integer, %(system)s::integer) = 0
 OR COALESCE(incident.dept_id, systems.dept_id) = %(dept)s
 OR COALESCE(incident.lab_id, systems.lab_id) = %(lab)s
 OR incident.system_id = %(system)s
 OR EXISTS (SELECT FROM alert_covers AS cover JOIN systems AS one USING (system_id)
            WHERE cover.alert_id = incident.alert_id
              AND (one.dept_id = %(dept)s OR one.lab_id = %(lab)s OR one.system_id = %(system)s)))
AND (%(rule)s::text IS NULL OR alert_type = %(rule)s)
"""


_OF_STATE = {
    "all": "true",
    "firing": "resolved_at IS NULL AND acknowledged_at IS NULL",
    "acknowledged": "resolved_at IS NULL AND acknowledged_at IS NOT NULL",
    "resolved": "resolved_at IS NOT NULL",
}
STATES = tuple(_OF_STATE)
"""What `page` tells apart."""


def standing(
    connection: Connection[Any],
    scope: Scope = EVERYTHING,
    *,
    rule: str | None = None,
    severity: str | None = None,
    pending: bool = False,
) -> list[Incident]:
    """Those that are on, the worst and the newest first; with those that may become one when `pending`."""
    return _read(
        connection,
        f"{_SELECT} WHERE resolved_at IS NULL AND {_WITHIN} AND (%(pending)s OR fired_at IS NOT NULL) "
        "AND (%(severity)s::text IS NULL OR incident.severity = %(severity)s) "
        "ORDER BY fired_at IS NULL, array_position('{critical,warning,info}', incident.severity), "
        "acknowledged_at IS NOT NULL, COALESCE(fired_at, since) DESC, alert_id",
        {"pending": pending, "severity": severity},
        scope,
        rule,
    )


def over(
    connection: Connection[Any], scope: Scope = EVERYTHING, *, rule: str | None = None, limit: int = 100
) -> list[Incident]:
    """The newest `limit` that fired, whether over or not, oldest first."""
    newest = f"{_SELECT} WHERE fired_at IS NOT NULL AND {_WITHIN} ORDER BY fired_at DESC, alert_id DESC"
    return _read(connection, f"{newest} LIMIT %(limit)s", {"limit": limit}, scope, rule)[::-1]


def page(
    connection: Connection[Any],
    scope: Scope = EVERYTHING,
    *,
    state: str = "all",
    rule: str | None = None,
    severity: str | None = None,
    words: str = "",
    before: tuple[datetime, int] | None = None,
    limit: int = 100,
) -> list[Incident]:
    """Those that fired, the newest first. `state`: firing, acknowledged (and still firing), resolved, or all.

    `words`: text that the subject, the rule, the metric or the comment holds. `before`: only those before the
    incident that fired at this time and has this alert_id.
    """
    at, number = before or (None, None)
    return _read(
        connection,
        f"{_SELECT} WHERE fired_at IS NOT NULL AND {_OF_STATE[state]} AND {_WITHIN} "
        "AND (%(severity)s::text IS NULL OR incident.severity = %(severity)s) "
        "AND (%(words)s = '' OR strpos(lower(concat_ws(' ', hostname, host(ip_address), subject, alert_type, "
        "replace(alert_type, '_', ' '), metric, comment)), %(words)s) > 0) "
        "AND (%(at)s::timestamptz IS NULL OR (fired_at, alert_id) < (%(at)s, %(number)s::bigint)) "
        "ORDER BY fired_at DESC, alert_id DESC LIMIT %(limit)s",
        {"severity": severity, "words": words.lower(), "at": at, "number": number, "limit": limit},
        scope,
        rule,
    )


def marks(connection: Connection[Any]) -> dict[int, tuple[Any, ...]]:
    """What may change of each that is firing, by number: equal when nothing has."""
    rows = connection.execute(
        "SELECT alert_id, severity, acknowledged_at, acknowledged_by, comment, muted, repeats "
        "FROM alert_incidents WHERE resolved_at IS NULL AND fired_at IS NOT NULL"
    )
    return {row[0]: row[1:] for row in rows}


def named(connection: Connection[Any], alert_ids: Sequence[int]) -> list[Incident]:
    """Those of these numbers, the newest first, over or not."""
    return _read(
        connection,
        f"{_SELECT} WHERE alert_id = ANY(%(ids)s) ORDER BY fired_at DESC, alert_id DESC",
        {"ids": list(alert_ids)},
        EVERYTHING,
        None,
    )


def counts(connection: Connection[Any]) -> dict[str, int]:
    """How many are firing, by severity; those that are acknowledged are counted as that instead."""
    rows = connection.execute(
        "SELECT CASE WHEN acknowledged_at IS NULL THEN severity ELSE 'acknowledged' END AS word, count(*) "
        "FROM alert_incidents WHERE resolved_at IS NULL AND fired_at IS NOT NULL GROUP BY word"
    ).fetchall()
    return dict.fromkeys(("critical", "warning", "info", "acknowledged"), 0) | dict(rows)


def show(connection: Connection[Any], alert_id: int) -> tuple[Incident, list[Step], list[str]] | None:
    """One incident, what happened to it in order, and the names of the systems under it."""
    found = _read(connection, f"{_SELECT} WHERE alert_id = %(alert)s", {"alert": alert_id}, EVERYTHING, None)
    if not found:
        return None
    with connection.cursor(row_factory=class_row(Step)) as cursor:
        cursor.execute(
            "SELECT at, event, said_by, comment FROM alert_log WHERE alert_id = %s ORDER BY log_id",
            [alert_id],
        )
        steps = cursor.fetchall()
    names = connection.execute(
        "SELECT COALESCE(hostname, host(ip_address), 'system ' || system_id) FROM alert_covers "
        "JOIN systems USING (system_id) WHERE alert_id = %s ORDER BY ip_address, system_id",
        [alert_id],
    ).fetchall()
    return found[0], steps, [row[0] for row in names]


def acknowledge(
    connection: Connection[Any], alerts: Sequence[int], user: str, comment: str | None, now: datetime
) -> list[int]:
    """Say that somebody knows: no repeats from then on, and the end of what nothing else can end.

    In the caller's transaction. Returns those of the numbers that were firing.
    """
    rows = connection.execute(
        "SELECT * FROM labmon_alerts_acknowledge(%s::bigint[], %s, %s, %s)",
        [[one for one in alerts if abs(one) < 2**63], user, comment, now],
    )
    return [row[0] for row in rows]


def unacknowledge(connection: Connection[Any], alerts: Sequence[int], who: str, now: datetime) -> list[int]:
    """Take acknowledgements back: notifications are repeated and escalated again.

    In the caller's transaction. Returns those of the numbers that were acknowledged and are still firing;
    those that ended with their acknowledgement stay over.
    """
    rows = connection.execute(
        """
        WITH before AS (
            SELECT alert_id FROM alert_incidents
            WHERE alert_id = ANY(%(alerts)s::bigint[]) AND state = 'firing' AND acknowledged_at IS NOT NULL
            ORDER BY alert_id FOR UPDATE
        ), done AS (
            UPDATE alert_incidents AS incident
            SET acknowledged_at = NULL, acknowledged_by = NULL, comment = NULL
            FROM before WHERE incident.alert_id = before.alert_id
        )
        INSERT INTO alert_log (alert_id, at, event, said_by)
        SELECT alert_id, %(now)s, 'unacknowledged', %(who)s FROM before RETURNING alert_id
        """,
        {"alerts": [one for one in alerts if abs(one) < 2**63], "who": who, "now": now},
    ).fetchall()
    done = [row[0] for row in rows]
    connection.execute(
        "UPDATE deliveries SET state = 'held', settled_at = NULL, error = 'no longer acknowledged' "
        "WHERE state = 'withdrawn' AND escalate_at IS NOT NULL AND error LIKE 'acknowledged by %%' "
        "AND alert ->> 'alert_id' = ANY(%s)",
        [[str(one) for one in done]],
    )
    return done


def _read(
    connection: Connection[Any], query: str, parameters: dict[str, Any], scope: Scope, rule: str | None
) -> list[Incident]:
    within = {"dept": scope.dept_id, "lab": scope.lab_id, "system": scope.system_id, "rule": rule}
    with connection.cursor(row_factory=class_row(Incident)) as cursor:
        cursor.execute(query.encode(), parameters | within)
        return cursor.fetchall()
