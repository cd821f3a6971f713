"""`metrics` as a hypertable of TimescaleDB. Experimental: by the manual, not tried on a server with it."""

from datetime import timedelta
from importlib.resources import files
from typing import Any

from psycopg import Connection

from labmon.config import Retention
from labmon.store.retention import GRACE


def is_possible(connection: Connection[Any]) -> bool:
    """True where the extension is created in this database, and there are no readings yet to be moved."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') "
        "AND EXISTS (SELECT FROM pg_class WHERE oid = 'metrics'::regclass AND relkind = 'p') "
        "AND NOT EXISTS (SELECT FROM readings)"
    ).fetchone()
    return bool(row and row[0])


def adopt(connection: Connection[Any], keep: Retention) -> None:
    """Make the hypertable, with its own compression and retention, in the caller's transaction."""
    for name in ("0001_one_table.sql", "0002_hypertable.sql"):
        connection.execute(statements(name))
    if keep.pack_after:
        after = timedelta(seconds=keep.pack_after)
        connection.execute("SELECT add_compression_policy('metrics', %s::interval)", [after])
    if keep.raw:
        connection.execute(
            "SELECT add_retention_policy('metrics', %s::interval)", [timedelta(seconds=keep.raw) + GRACE]
        )


def statements(name: str) -> bytes:
    """A file of migrations/timescale."""
    return files("labmon.store").joinpath("migrations", "timescale", name).read_bytes()
