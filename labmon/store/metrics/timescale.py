"""`metrics` as a hypertable of TimescaleDB. Experimental: by the manual, not tried on a server with it."""

from datetime import timedelta
from typing import Any

from psycopg import Connection

from labmon.config.tables import RetentionConfig
from labmon.store import schema
from labmon.store.metrics.retention import GRACE


def is_possible(connection: Connection[Any]) -> bool:
    """True where the extension is created in this database, and there are no readings yet to be moved."""
    row = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') "
        "AND EXISTS (SELECT FROM pg_class WHERE oid = 'metrics'::regclass AND relkind = 'p') "
        "AND NOT EXISTS (SELECT FROM readings)"
    ).fetchone()
    return bool(row and row[0])


def adopt(connection: Connection[Any], keep: RetentionConfig) -> None:
    """Make the hypertable, with its own compression and retention, in the caller's transaction."""
    for name in ("one_table", "hypertable"):
        connection.execute(schema.read("timescale", name).sql)
    if keep.pack_after:
        after = timedelta(seconds=keep.pack_after)
        connection.execute("SELECT add_compression_policy('metrics', %s::interval)", [after])
    if keep.raw:
        connection.execute(
            "SELECT add_retention_policy('metrics', %s::interval)", [timedelta(seconds=keep.raw) + GRACE]
        )
