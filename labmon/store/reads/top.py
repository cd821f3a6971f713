"""Who has the most, or the least, of something."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.sql import SQL, Identifier

from labmon.store.reads.latest import FRESH, NEWEST
from labmon.store.rollup import LEVELS, Level


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
    "AND value IS NOT NULL ORDER BY value {direction}, system_id LIMIT %(limit)s"
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
    a time until now, as far as it is summed up."""
    known = {"now": now, "fresh": FRESH, "dept": dept, "lab": lab, "limit": limit}
    scope = _SCOPE.format(direction=SQL("ASC" if lowest else "DESC"))
    if over is None:
        source = SQL(
            "(SELECT systems.*, newest.{metric} AS value, NULL::real AS highest FROM {newest} "
            "WHERE last_collected > %(now)s - %(fresh)s) each WHERE "
        ).format(metric=Identifier(metric), newest=SQL(NEWEST))
    else:
        known["first"] = now - over
        source = SQL(
            "systems, LATERAL (SELECT sum({average}::double precision * COALESCE({count}, readings)) "
            "/ NULLIF(sum(COALESCE({count}, readings)) FILTER (WHERE {average} IS NOT NULL), 0) AS value, "
            "max({most}) AS highest FROM {table} AS sums WHERE sums.system_id = systems.system_id "
            "AND bucket >= %(first)s AND bucket < %(now)s) past WHERE "
        ).format(
            table=Identifier(_level(over).table),
            count=Identifier(f"{metric}_count"),
            average=Identifier(f"{metric}_avg"),
            most=Identifier(f"{metric}_max"),
        )
    with connection.cursor(row_factory=class_row(Ranked)) as cursor:
        cursor.execute(_WHO + source + scope, known)
        return cursor.fetchall()


def _level(over: timedelta) -> Level:
    """Fine enough for the ends not to matter, coarse enough for a few dozen rows per machine."""
    return LEVELS[0 if over <= timedelta(hours=6) else 1 if over <= timedelta(days=7) else 2]
