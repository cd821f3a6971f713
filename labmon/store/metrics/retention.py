"""What has been kept for long enough goes: by whole partitions, and only when it is summed up."""

from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg import Connection

from labmon.config.tables import EventsConfig, RetentionConfig
from labmon.store import queue_history
from labmon.store.metrics import partitions
from labmon.store.metrics.partitions import Partition
from labmon.store.metrics.rollup import DUE_WITHIN

GRACE = timedelta(days=1)
"""Readings are accepted until [retention] raw; their day is dropped so much later."""

_AT_ONCE = 50_000
"""Rows that one call deletes from a table that is small enough to have no partitions."""


def expired(
    connection: Connection[Any], keep: RetentionConfig, events: EventsConfig, now: datetime
) -> list[Partition]:
    """The partitions whose time is over, whether they are summed up yet or not."""
    limits = {
        table: now - timedelta(seconds=seconds) - grace
        for table, seconds, grace in (
            ("metrics", keep.raw, GRACE),
            ("metrics_packed", keep.raw, GRACE),
            ("metrics_5m", keep.rollup_5m, timedelta(0)),
            ("metrics_1h", keep.rollup_1h, GRACE),
            ("metrics_1d", keep.rollup_1d, GRACE),
        )
        if seconds
    }
    limits["event_batches"] = now - timedelta(seconds=events.keep)
    return [
        part
        for table, limit in limits.items()
        for part in partitions.partitions(connection, table)
        if part.past <= limit
    ]


def drop(connection: Connection[Any], part: Partition) -> bool:
    """Drop it, in the caller's transaction; False when it is in use, or something in it is not summed up."""
    is_event = part.table == "event_batches"
    return partitions.drop(connection, part, unless="false" if is_event else DUE_WITHIN)


def drop_hollow(connection: Connection[Any], part: Partition) -> bool:
    """Drop a partition of `metrics` that is empty; False when it is in use, or no longer empty."""
    written = "EXISTS (SELECT FROM metrics WHERE collected_at >= %(first)s AND collected_at < %(past)s)"
    return partitions.drop(connection, part, unless=written)


def forget(connection: Connection[Any], keep: RetentionConfig, now: datetime) -> int:
    """Delete old rows of the small tables, in the caller's transaction. Returns how many."""
    rules: tuple[tuple[LiteralString, float], ...] = (
        (
            "DELETE FROM system_history WHERE history_id IN "
            "(SELECT history_id FROM system_history WHERE at < %s ORDER BY at LIMIT %s)",
            keep.history,
        ),
        (
            "DELETE FROM alerts WHERE ctid = ANY (ARRAY("
            "SELECT ctid FROM alerts WHERE raised_at < %s ORDER BY raised_at LIMIT %s))",
            keep.alerts,
        ),
        (
            "DELETE FROM alert_incidents WHERE alert_id IN (SELECT alert_id FROM alert_incidents "
            "WHERE resolved_at IS NOT NULL AND fired_at < %s ORDER BY fired_at LIMIT %s)",
            keep.alerts,
        ),
        (
            "DELETE FROM deliveries WHERE delivery_id IN (SELECT delivery_id FROM deliveries "
            "WHERE state NOT IN ('waiting', 'held') AND created_at < %s ORDER BY created_at LIMIT %s)",
            keep.alerts,
        ),
        (  # numbered in the order of time, so only the oldest need to be looked at
            "DELETE FROM audit WHERE audit_id IN (SELECT audit_id FROM "
            "(SELECT audit_id, at < %s AS is_over FROM audit ORDER BY audit_id LIMIT %s) AS oldest "
            "WHERE is_over)",
            keep.audit,
        ),
        (
            "DELETE FROM queue_history WHERE ctid = ANY (ARRAY("
            "SELECT ctid FROM queue_history WHERE at < %s ORDER BY at LIMIT %s))",
            queue_history.KEEP.total_seconds(),
        ),
    )
    return sum(
        connection.execute(statement, [now - timedelta(seconds=seconds), _AT_ONCE]).rowcount
        for statement, seconds in rules
        if seconds
    )
