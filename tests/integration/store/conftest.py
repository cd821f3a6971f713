"""Machines and readings for the tests of what the store keeps."""

from datetime import UTC, datetime

import pytest

from labmon.messages import Metrics, Readings
from labmon.store.metrics import record_metrics

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def fleet(connection):
    """Machines 1 to 3, in department 1."""
    connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
    connection.execute(
        "INSERT INTO systems (system_id, dept_id, ip_address) "
        "SELECT n, 1, '10.0.0.0'::inet + n FROM generate_series(1, 3) n"
    )
    connection.commit()


@pytest.fixture
def put(connection, fleet):
    """Store readings, each (system, time, values), and commit."""

    def put(*readings):
        rows = [
            Metrics(system_id=n, collected_at=at, metrics=Readings(**values)) for n, at, values in readings
        ]
        new = record_metrics(connection, rows)
        connection.commit()
        return new

    return put
