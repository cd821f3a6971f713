"""What machines say of themselves, what of it changed, and their file systems.

The newest word counts, whichever way it came; a fact that is not told keeps the value that it had. Of what
changes all the time (`VOLATILE`) no history is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from psycopg import Connection
from psycopg.rows import class_row
from psycopg.sql import SQL, Composable, Literal
from psycopg.types.json import Jsonb

from labmon.facts import Facts, MachineFacts, without_placeholders

VOLATILE = ("boot_at", "pending_updates", "failed_units", "reboot_required", "time_synchronised")

HISTORY_KEPT = "30 days"
"""Of file systems: more than any rule looks back."""

_CHANGES = """
INSERT INTO facts_history (system_id, at, fact, old_value, new_value)
SELECT %(system)s, %(at)s, key, facts -> key, value
FROM facts, jsonb_each(%(facts)s)
WHERE system_id = %(system)s AND asked_at < %(at)s AND key <> ALL(%(volatile)s)
  AND facts -> key <> value
"""

_KEEP = """
INSERT INTO facts AS known (system_id, asked_at, facts) VALUES (%(system)s, %(at)s, %(facts)s)
ON CONFLICT (system_id) DO UPDATE SET asked_at = EXCLUDED.asked_at, facts = known.facts || EXCLUDED.facts
WHERE known.asked_at < EXCLUDED.asked_at
"""

# A name that a scan found, or that somebody set, is there already.
_NAME = """
WITH named AS (
    UPDATE systems SET hostname = %(name)s WHERE system_id = %(system)s AND hostname IS NULL
    RETURNING system_id
)
INSERT INTO system_history (system_id, at, change, new_value)
SELECT system_id, %(at)s, 'renamed', %(name)s FROM named
"""

_MOUNTS = """
WITH told AS (
    SELECT * FROM unnest(
        %(mounts)s::text[], %(total)s::bigint[], %(used)s::bigint[], %(percent)s::real[], %(inodes)s::real[]
    ) AS one (mount, total_bytes, used_bytes, used_percent, inodes_percent)
), gone AS (
    DELETE FROM filesystems WHERE system_id = %(system)s AND mount <> ALL(%(mounts)s::text[])
), kept AS (
    INSERT INTO filesystem_history (system_id, mount, at, used_percent, inodes_percent)
    SELECT %(system)s, mount, %(at)s, used_percent, inodes_percent FROM told ON CONFLICT DO NOTHING
), old AS (
    DELETE FROM filesystem_history
    WHERE system_id = %(system)s AND at < %(at)s - %(keep)s::interval AND at < (
        SELECT asked_at FROM filesystems
        WHERE filesystems.system_id = %(system)s AND filesystems.mount = filesystem_history.mount)
)
INSERT INTO filesystems AS known (
    system_id, mount, asked_at, total_bytes, used_bytes, used_percent, inodes_percent)
SELECT %(system)s, mount, %(at)s, total_bytes, used_bytes, used_percent, inodes_percent FROM told
ON CONFLICT (system_id, mount) DO UPDATE SET asked_at = EXCLUDED.asked_at, total_bytes = EXCLUDED.total_bytes,
    used_bytes = EXCLUDED.used_bytes, used_percent = EXCLUDED.used_percent,
    inodes_percent = EXCLUDED.inodes_percent
"""


@dataclass(frozen=True, slots=True)
class SystemFacts:
    """A machine with its facts, as lists show it."""

    system_id: int
    ip_address: str | None
    hostname: str | None  #: as the inventory has it
    asked_at: datetime
    facts: MachineFacts


@dataclass(frozen=True, slots=True)
class FactChange:
    """A fact that is another than before."""

    at: datetime
    system_id: int
    ip_address: str | None
    hostname: str | None
    fact: str
    old_value: Any
    new_value: Any


@dataclass(frozen=True, slots=True)
class Mount:
    """A local file system, as it was last sent."""

    mount: str
    total_bytes: int
    used_bytes: int
    used_percent: float
    inodes_percent: float | None
    asked_at: datetime


class Condition(NamedTuple):
    """One of `--where`: a fact, how it is compared (~ = != < >), and with what."""

    fact: str
    comparison: str
    value: str


def record_facts(connection: Connection[Any], told: Sequence[Facts]) -> None:
    """Write what is newer than what is known, in the caller's transaction. Repeats and what is late change
    nothing. The systems exist and are held (`systems.hold`)."""
    for one in sorted(told, key=lambda message: (message.system_id, message.asked_at)):
        known = {"system": one.system_id, "at": one.asked_at}
        if one.facts is not None:
            facts = without_placeholders(one.facts)
            plain = {name: value for name, value in msgspec.to_builtins(facts).items() if value is not None}
            values = known | {"facts": Jsonb(plain), "volatile": list(VOLATILE)}
            connection.execute(_CHANGES, values)
            connection.execute(_KEEP, values)
            if facts.hostname and not facts.hostname.lower().startswith("localhost"):
                connection.execute(_NAME, known | {"name": facts.hostname})
        if one.filesystems is not None:
            _record_mounts(connection, one)


def _record_mounts(connection: Connection[Any], one: Facts) -> None:
    newer = connection.execute(
        "SELECT NOT EXISTS (SELECT FROM filesystems WHERE system_id = %s AND asked_at >= %s)",
        [one.system_id, one.asked_at],
    ).fetchone()
    if newer and newer[0]:
        mounts = one.filesystems or []
        connection.execute(
            _MOUNTS,
            {
                "system": one.system_id,
                "at": one.asked_at,
                "keep": HISTORY_KEPT,
                "mounts": [disk.mount for disk in mounts],
                "total": [disk.total_bytes for disk in mounts],
                "used": [disk.used_bytes for disk in mounts],
                "percent": [disk.used_percent for disk in mounts],
                "inodes": [disk.inodes_percent for disk in mounts],
            },
        )


def facts(
    connection: Connection[Any],
    *,
    ids: Sequence[int] | None = None,
    conditions: Sequence[Condition] = (),
) -> list[SystemFacts]:
    """Of the machines that told any, by address; None does not restrict."""
    with connection.cursor() as cursor:
        cursor.execute(
            SQL(
                "SELECT system_id, host(ip_address), hostname, asked_at, facts FROM facts "
                "JOIN systems USING (system_id) "
                "WHERE (%(ids)s::integer[] IS NULL OR system_id = ANY(%(ids)s)) AND {} "
                "ORDER BY systems.ip_address NULLS LAST, system_id"
            ).format(_all_of(conditions)),
            {"ids": None if ids is None else list(ids)},
        )
        return [
            SystemFacts(number, address, name, at, msgspec.convert(told, MachineFacts))
            for number, address, name, at, told in cursor
        ]


def matching(connection: Connection[Any], conditions: Sequence[Condition]) -> list[int]:
    """The numbers of the machines for which all the conditions hold."""
    rows = connection.execute(SQL("SELECT system_id FROM facts WHERE {}").format(_all_of(conditions)))
    return [row[0] for row in rows]


def changes(
    connection: Connection[Any],
    *,
    ids: Sequence[int] | None = None,
    first: datetime | None = None,
    limit: int = 100,
) -> list[FactChange]:
    """The newest `limit`, oldest first."""
    with connection.cursor(row_factory=class_row(FactChange)) as cursor:
        cursor.execute(
            """
            SELECT at, system_id, host(ip_address) AS ip_address, hostname, fact, old_value, new_value
            FROM facts_history JOIN systems USING (system_id)
            WHERE (%(ids)s::integer[] IS NULL OR system_id = ANY(%(ids)s))
              AND (%(first)s::timestamptz IS NULL OR at >= %(first)s)
            ORDER BY at DESC, history_id DESC LIMIT %(limit)s
            """,
            {"ids": None if ids is None else list(ids), "first": first, "limit": limit},
        )
        return cursor.fetchall()[::-1]


def mounts(connection: Connection[Any], system: int) -> list[Mount]:
    """The local file systems of a machine, by where they are mounted."""
    with connection.cursor(row_factory=class_row(Mount)) as cursor:
        cursor.execute(
            "SELECT mount, total_bytes, used_bytes, used_percent, inodes_percent, asked_at FROM filesystems "
            'WHERE system_id = %s ORDER BY mount COLLATE "C"',
            [system],
        )
        return cursor.fetchall()


def _all_of(conditions: Sequence[Condition]) -> Composable:
    """The conditions in SQL. Text is compared without regard to case; < and > compare numbers."""
    parts: list[Composable] = [SQL("true")]
    for fact, comparison, value in conditions:
        text = SQL("facts ->> {}").format(Literal(fact))
        match comparison:
            case "~":
                parts.append(SQL("strpos(lower({}), lower({})) > 0").format(text, Literal(value)))
            case "=":
                parts.append(SQL("lower({}) = lower({})").format(text, Literal(value)))
            case "!=":
                parts.append(SQL("lower({}) IS DISTINCT FROM lower({})").format(text, Literal(value)))
            case _:
                number = SQL("CASE WHEN jsonb_typeof(facts -> {}) = 'number' THEN ({})::numeric END").format(
                    Literal(fact), text
                )
                parts.append(
                    SQL("{} {} {}").format(
                        number, SQL("<" if comparison == "<" else ">"), Literal(float(value))
                    )
                )
    return SQL(" AND ").join(parts)
