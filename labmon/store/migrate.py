"""The schema's version: numbered SQL files, each applied once and whole."""

from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from labmon.errors import SchemaOutOfDate

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('labmon_migrate'))"


@dataclass(frozen=True, slots=True)
class Migration:
    """One file, `NNNN_name.sql`."""

    version: int
    name: str
    sql: str


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that this database has."""

    version: int
    name: str
    applied_at: datetime


def available() -> list[Migration]:
    """What this labmon brings, in order."""
    found = []
    for entry in files("labmon.store").joinpath("migrations").iterdir():
        number, _, name = entry.name.removesuffix(".sql").partition("_")
        if number.isdigit():
            found.append(Migration(int(number), name, entry.read_text(encoding="utf-8")))
    return sorted(found, key=lambda migration: migration.version)


def applied(connection: Connection[Any]) -> list[Applied]:
    """What the database has, in order; [] for an empty one."""
    row = connection.execute("SELECT to_regclass('labmon_schema')").fetchone()
    if not row or row[0] is None:
        return []
    with connection.cursor(row_factory=class_row(Applied)) as cursor:
        cursor.execute("SELECT version, name, applied_at FROM labmon_schema ORDER BY version")
        return cursor.fetchall()


def missing(connection: Connection[Any]) -> list[Migration]:
    """What `migrate` would apply. Raises SchemaOutOfDate when the database is ahead of this labmon."""
    have = {migration.version for migration in applied(connection)}
    ours = available()
    newer = have - {migration.version for migration in ours}
    if newer:
        raise SchemaOutOfDate(
            f"the database has schema version {max(newer)}, this labmon knows {ours[-1].version}. "
            "Update labmon"
        )
    return [migration for migration in ours if migration.version not in have]


def migrate(connection: Connection[Any]) -> list[Migration]:
    """Apply what is missing, all or nothing. Returns what was applied.

    Two processes may call it at once: the second waits and finds nothing left to do.
    """
    with connection.transaction():
        connection.execute(_LOCK)
        connection.execute(
            "CREATE TABLE IF NOT EXISTS labmon_schema (version integer PRIMARY KEY, name text NOT NULL, "
            "applied_at timestamptz NOT NULL DEFAULT now())"
        )
        todo = missing(connection)
        for migration in todo:
            connection.execute(migration.sql.encode())
            connection.execute(
                "INSERT INTO labmon_schema (version, name) VALUES (%s, %s)",
                [migration.version, migration.name],
            )
    return todo


def check(connection: Connection[Any]) -> None:
    """Raises SchemaOutOfDate, with the way out, unless the schema is this labmon's."""
    todo = missing(connection)
    if todo:
        raise SchemaOutOfDate(
            f"the database's schema is {len(todo)} version{'s' * (len(todo) > 1)} behind. "
            "Bring it up to date with: labmon db migrate"
        )
