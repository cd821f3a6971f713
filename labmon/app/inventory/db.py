"""The schema and its tables as `labmon db` lists them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from labmon.readable import volume
from labmon.table import Column

if TYPE_CHECKING:
    from labmon.store.migrate import Plan


def migrated(done: "Plan") -> Iterator[str]:
    """What a migration did, a line each."""
    from labmon.store.migrate import BASELINE, Origin

    match done.origin:
        case Origin.EMPTY:
            yield f"made the tables (schema version {BASELINE})"
        case Origin.UNRELEASED:
            yield f"took over the tables of an earlier labmon (now schema version {BASELINE})"
    for migration in done.migrations:
        yield f"applied migration {migration.version:04d} {migration.name}"
    if done.functions:
        yield f"applied functions and views: {', '.join(file.name for file in done.functions)}"
    yield "the schema is up to date"


SCHEMA = [
    Column("part", "Part"),
    Column("version", "Version", right=True, absent=""),
    Column("name", "Name"),
    Column("applied_at", "Applied", lambda at: f"{at:%Y-%m-%d %H:%M:%S %Z}"),
]

TABLES = [
    Column("table", "Table"),
    Column("holds", "Holds"),
    Column("parts", "Parts", right=True),
    Column("first", "From"),
    Column("last", "To"),
    Column("bytes", "Size", volume, right=True),
]

LATE = 120
"""Seconds without a rollup that are worth a message: housekeeping runs every minute."""
