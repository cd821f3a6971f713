"""Bring a database to this labmon's schema: all of it or nothing, and one process at a time.

An empty database gets the tables of `schema/`. Every database then gets the numbered migrations that it
lacks, and last the functions of which it has another text. What it has is recorded in two tables:
`labmon_schema`, a row for each version, and `labmon_schema_functions`, a row for each file of functions.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from importlib.resources import files
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from labmon import __version__
from labmon.errors import SchemaOutOfDate, StoreRefused
from labmon.store import schema

BASELINE = 26
"""The version of the files in schema/tables."""

BEFORE = frozenset(range(1, BASELINE))
"""Versions that no release had. A database with all of them has the tables of the baseline."""

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('labmon_migrate'))"

_HOLD = """
SELECT pg_advisory_xact_lock(hashtext('labmon_alerts_tick'));
LOCK TABLE ONLY metrics, ONLY systems, ONLY alerts, ONLY alert_rules IN SHARE ROW EXCLUSIVE MODE;
"""
"""Before views and triggers are replaced, in the order in which labmon locks these tables to store in them:
so neither waits for the other in a circle, which would cost the alerts of a batch. Reading goes on."""

_RECORDS = """
CREATE TABLE IF NOT EXISTS labmon_schema (
    version     integer PRIMARY KEY,
    name        text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE labmon_schema_functions (
    name        text PRIMARY KEY,
    sha256      text NOT NULL,
    labmon      text NOT NULL,
    applied_at  timestamptz NOT NULL DEFAULT now()
);
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file, `NNNN_name.sql`."""

    version: int
    name: str
    sql: bytes


class Origin(StrEnum):
    """What a database is before it is migrated."""

    EMPTY = "empty"
    UNRELEASED = "unreleased"  #: of a labmon from before the baseline, complete
    BASELINE = "baseline"  #: or later


@dataclass(frozen=True, slots=True)
class Plan:
    """What a database lacks, in the order in which it is applied."""

    origin: Origin
    migrations: list[Migration]
    functions: list[schema.File]

    @property
    def is_done(self) -> bool:
        """True when there is nothing to apply."""
        return self.origin is Origin.BASELINE and not self.migrations and not self.functions


@dataclass(frozen=True, slots=True)
class Applied:
    """Something that a database has."""

    part: str  #: "tables" or "functions"
    version: int | None  #: of tables
    name: str
    applied_at: datetime


def available() -> list[Migration]:
    """The migrations that this labmon brings, in order."""
    found = []
    for entry in files("labmon.store.migrations").iterdir():
        number, _, name = entry.name.removesuffix(".sql").partition("_")
        if number.isdigit():
            found.append(Migration(int(number), name, entry.read_bytes()))
    return sorted(found, key=lambda migration: migration.version)


def applied(connection: Connection[Any]) -> list[Applied]:
    """What a database at the baseline or later has: versions in order, then files of functions by name."""
    with connection.cursor(row_factory=class_row(Applied)) as cursor:
        cursor.execute(
            """
            SELECT 'tables' AS part, version, name, applied_at FROM labmon_schema WHERE version >= %s
            UNION ALL
            SELECT 'functions', NULL, name, applied_at FROM labmon_schema_functions
            ORDER BY version, name
            """,
            [BASELINE],
        )
        return cursor.fetchall()


def plan(connection: Connection[Any]) -> Plan:
    """What `migrate` would apply.

    Raises SchemaOutOfDate when the database is ahead of this labmon, or was left half way by one from
    before the baseline.
    """
    have = _versions(connection)
    ours = available()
    _refuse_newer(have - BEFORE - {BASELINE} - {one.version for one in ours}, ours)
    if BASELINE not in have:
        if have and not have >= BEFORE:
            raise SchemaOutOfDate(
                f"the database was left half way, at schema version {max(have)}, by a labmon from before the "
                f"first release; only the whole {max(BEFORE)} can be taken over. Run `labmon db migrate` of "
                "commit 8165146 first, or name an empty database in [database] url"
            )
        return Plan(Origin.UNRELEASED if have else Origin.EMPTY, ours, schema.functions())
    missing = [one for one in ours if one.version not in have]
    changed = _changed(connection)
    # A migration may have dropped a function in order to change it, or added a column that a view shows.
    return Plan(Origin.BASELINE, missing, schema.functions() if missing else changed)


def migrate(connection: Connection[Any]) -> Plan:
    """Apply what is missing, all or nothing. Returns what was applied.

    Raises as `plan` does, and StoreRefused for a database that cannot hold names.

    Two processes may call it at once: the second waits and finds nothing left to do.
    """
    if problem := encoding_problem(connection) or trigger_problem(connection):
        raise StoreRefused(problem)
    with connection.transaction():
        connection.execute(_LOCK)
        todo = plan(connection)
        if todo.origin is not Origin.EMPTY and not todo.is_done:
            connection.execute(_HOLD)
        if todo.origin is not Origin.BASELINE:
            connection.execute(_RECORDS)
            if todo.origin is Origin.EMPTY:
                for file in schema.tables():
                    connection.execute(file.sql)
            _record(connection, BASELINE, "baseline")
        for migration in todo.migrations:
            connection.execute(migration.sql)
            _record(connection, migration.version, migration.name)
        for file in todo.functions:
            connection.execute(file.sql)
            connection.execute(
                "INSERT INTO labmon_schema_functions (name, sha256, labmon) VALUES (%s, %s, %s) "
                "ON CONFLICT (name) DO UPDATE "
                "SET sha256 = excluded.sha256, labmon = excluded.labmon, applied_at = now()",
                [file.name, file.sha256, __version__],
            )
    return todo


def encoding_problem(connection: Connection[Any]) -> str | None:
    """Why the database's encoding is no good, and the way out; None when it is UTF8.

    Others lack letters of names; SQL_ASCII takes any bytes for letters.
    """
    row = connection.execute("SELECT current_database(), current_setting('server_encoding')").fetchone()
    assert row is not None
    if row[1] == "UTF8":
        return None
    return (
        f"database {row[0]}: its encoding is {row[1]}, which cannot hold every name. Make one in UTF8: "
        f"createdb --encoding=UTF8 --template=template0 NAME, and name it in [database] url"
    )


def trigger_problem(connection: Connection[Any]) -> str | None:
    """Why labmon's triggers would not fire, and the way out; None when they do.

    With session_replication_role = replica, which imports use and some forget, PostgreSQL fires none: alerts,
    changes of status and counts of messages would be missing without a word.
    """
    row = connection.execute(
        "SELECT current_database(), current_user, current_setting('session_replication_role')"
    ).fetchone()
    assert row is not None
    if row[2] != "replica":
        return None
    return (
        f"database {row[0]}: session_replication_role is replica: triggers do not fire, alerts are lost. "
        f"Take it back with: ALTER DATABASE {row[0]} RESET session_replication_role "
        f"(or: ALTER ROLE {row[1]} RESET session_replication_role)"
    )


def check(connection: Connection[Any]) -> None:
    """Raises SchemaOutOfDate, with the way out, unless the schema is this labmon's; StoreRefused where its
    triggers would not fire."""
    if problem := trigger_problem(connection):
        raise StoreRefused(problem)
    todo = plan(connection)
    if todo.is_done:
        return
    if todo.origin is Origin.EMPTY:
        raise SchemaOutOfDate("the database has no tables of labmon's. Make them with: labmon db migrate")
    if todo.origin is Origin.UNRELEASED:
        lacks = "is of a labmon from before the first release"
    elif todo.migrations:
        lacks = f"lacks {', '.join(f'{one.version:04d} {one.name}' for one in todo.migrations)}"
    else:
        lacks = f"has older functions: {', '.join(one.name for one in todo.functions)}"
    raise SchemaOutOfDate(
        f"the database's schema is behind: it {lacks}. Bring it up to date with: labmon db migrate"
    )


def _versions(connection: Connection[Any]) -> set[int]:
    row = connection.execute("SELECT to_regclass('labmon_schema')").fetchone()
    if not row or row[0] is None:
        return set()
    return {row[0] for row in connection.execute("SELECT version FROM labmon_schema")}


def _record(connection: Connection[Any], version: int, name: str) -> None:
    connection.execute("INSERT INTO labmon_schema (version, name) VALUES (%s, %s)", [version, name])


def _changed(connection: Connection[Any]) -> list[schema.File]:
    """The files of functions of which the database has another text, or none."""
    rows = connection.execute("SELECT name, sha256, labmon FROM labmon_schema_functions").fetchall()
    there = {name: digest for name, digest, _ in rows}
    changed = [file for file in schema.functions() if there.get(file.name) != file.sha256]
    newest = max((labmon for *_, labmon in rows), key=_in_order, default=__version__)
    if changed and _in_order(newest) > _in_order(__version__):
        raise SchemaOutOfDate(
            f"the database has the functions of labmon {newest}, this is {__version__}. Update labmon"
        )
    return changed


def _in_order(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _refuse_newer(unknown: set[int], ours: list[Migration]) -> None:
    if unknown:
        latest = ours[-1].version if ours else BASELINE
        raise SchemaOutOfDate(
            f"the database has schema version {max(unknown)}, this labmon knows {latest}. Update labmon"
        )
