"""Who has the most, or the least, of something."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier

from labmon.store.metrics.latest import FRESH, NEWEST
from labmon.store.metrics.rollup import LEVELS, RollupLevel


@dataclass(frozen=True, slots=True)
class Ranked:
    """A machine and its value: now, or the average of some time; then with the highest."""

    system_id: int
    dept_id: int
    lab_id: int | None
    ip_address: str | None
    hostname: str | None
    value: float
    highest: float | None


_SCOPE = SQL(
    "(%(dept)s::integer IS NULL OR dept_id = %(dept)s) AND (%(lab)s::integer IS NULL OR lab_id = %(lab)s) "
    "AND is_watched AND value IS NOT NULL ORDER BY value {direction}, system_id LIMIT %(limit)s"
)
_WHO = SQL(
    "SELECT system_id, dept_id, lab_id, host(ip_address) AS ip_address, hostname, value, highest FROM "
)


def top(
    connection: Connection[Any],
    metric: str,
    now: datetime,
    *,
    over: timedelta | None = None,
    dept: int | None = None,
    lab: int | None = None,
    limit: int = 10,
    lowest: bool = False,
) -> list[Ranked]:
    """The first `limit` machines by their newest reading, of those measured lately; or by the average `over`
    a time until now, of which what is not summed up yet is read reading by reading."""
    known = {"now": now, "fresh": FRESH, "dept": dept, "lab": lab, "limit": limit}
    scope = _SCOPE.format(direction=SQL("ASC" if lowest else "DESC"))
    if over is None:
        source = SQL(
            "(SELECT systems.*, newest.{metric} AS value, NULL::real AS highest FROM {newest} "
            "WHERE labmon_measured(systems) > %(now)s - %(fresh)s) each WHERE "
        ).format(metric=Identifier(metric), newest=SQL(NEWEST))
    else:
        level = _level(over)
        known["first"] = now - over
        known["edge"] = _summed_until(connection, level, now - over, now)
        source = SQL(
            """
            systems, LATERAL (
                SELECT (sum(total) / NULLIF(sum(number), 0))::real AS value, max(most)::real AS highest FROM (
                    SELECT {average}::double precision * COALESCE({count}, readings),
                           COALESCE({count}, readings), {most}::double precision
                    FROM {table} AS sums
                    WHERE sums.system_id = systems.system_id AND {average} IS NOT NULL
                      AND bucket >= %(first)s AND bucket < %(edge)s
                    UNION ALL
                    SELECT {metric}::double precision, 1, {metric}::double precision FROM readings
                    WHERE readings.system_id = systems.system_id AND {metric} IS NOT NULL
                      AND collected_at >= GREATEST(%(first)s, %(edge)s) AND collected_at < %(now)s
                      AND hour >= labmon_bucket('1 hour', GREATEST(%(first)s, %(edge)s)) AND hour < %(now)s
                ) AS part (total, number, most)
            ) past WHERE """
        ).format(
            table=Identifier(level.table),
            metric=Identifier(metric),
            count=Identifier(f"{metric}_count"),
            average=Identifier(f"{metric}_avg"),
            most=Identifier(f"{metric}_max"),
        )
    with connection.cursor(row_factory=class_row(Ranked)) as cursor:
        cursor.execute(_WHO + source + scope, known)
        return cursor.fetchall()


def _summed_until(
    connection: Connection[Any], level: RollupLevel, first: datetime, now: datetime
) -> datetime:
    """The start of the first bucket of that level that lacks readings, or has not ended."""
    row = connection.execute(
        "SELECT LEAST(labmon_bucket(%(width)s, %(now)s), min(labmon_bucket(%(width)s, bucket))) "
        "FROM rollup_due WHERE bucket >= labmon_bucket(%(width)s, %(first)s) AND bucket < %(now)s",
        {"width": level.width, "first": first, "now": now},
    ).fetchone()
    assert row is not None
    edge: datetime = row[0]
    return edge


def _level(over: timedelta) -> RollupLevel:
    """Fine enough for the ends not to matter, coarse enough for a few dozen rows per machine."""
    return LEVELS[0 if over <= timedelta(hours=6) else 1 if over <= timedelta(days=7) else 2]
