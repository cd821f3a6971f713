"""Machines and readings for the tests of what the store keeps."""

import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from labmon.messages import Metrics, Readings
from labmon.store.embedded import Embedded
from labmon.store.metrics.record import record_metrics

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@contextmanager
def temporary_state():
    # Not tmp_path: when the tests run as root, the server's account must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="labmon-state-", dir="/tmp"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def state():
    """An empty state folder for the embedded server."""
    with temporary_state() as folder:
        yield folder


@pytest.fixture(scope="session")
def kept_template():
    """A state folder with data in it, to copy: making one takes a second or more."""
    with temporary_state() as folder:
        with Embedded(folder) as server, psycopg.connect(server.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
        yield folder


@pytest.fixture
def kept(state, kept_template):
    """A state folder with data in it, and no server that runs."""
    subprocess.run(["cp", "-a", kept_template / "postgres", state], check=True)
    return state


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
