"""A database that has readings and rules already gets the size of the disks."""

from datetime import timedelta

import psycopg
import pytest

from labmon.messages import Metrics, Readings, utcnow
from labmon.store import migrate, pack, partitions, timescale
from labmon.store.metrics import record_metrics
from labmon.store.rollup import roll_up

from .conftest import NOON

BEFORE = 21
"""A version without it."""

RULE = """
SELECT metric, threshold, severity, enabled, hold FROM alert_rules
WHERE name = 'disk_changed' AND num_nonnulls(dept_id, lab_id, system_id) = 0
"""
USUAL = ("disk_total_bytes", 0.5, "critical", True, timedelta(0))


@pytest.fixture
def older(postgres_server, monkeypatch):
    """A database as it was; `upgrade` brings it up to date."""
    every = migrate.available()
    with postgres_server.database() as name, psycopg.connect(postgres_server.url(name)) as connection:
        with monkeypatch.context() as patch:
            patch.setattr(migrate, "available", lambda: [one for one in every if one.version <= BEFORE])
            migrate.migrate(connection)
        connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
        connection.execute("INSERT INTO labs (lab_id, dept_id, name) VALUES (7, 1, 'A-101')")
        connection.execute("INSERT INTO systems (system_id, dept_id) VALUES (1, 1)")
        connection.commit()
        yield connection


def upgrade(connection):
    migrate.migrate(connection)
    connection.commit()


@pytest.mark.parametrize(
    "done_before, found",
    {
        "SELECT 1": [USUAL],
        "UPDATE alert_rules SET severity = 'info', hold = '1 h' WHERE name = 'ram_changed'": [
            ("disk_total_bytes", 0.5, "info", True, timedelta(hours=1))
        ],
        "UPDATE alert_rules SET enabled = false WHERE name = 'ram_changed'": [
            ("disk_total_bytes", 0.5, "critical", False, timedelta(0))
        ],
        "DELETE FROM alert_rules WHERE name = 'ram_changed'": [],
        "DELETE FROM alert_rules": [],
        # A lab of its own mind says nothing about the others.
        "UPDATE alert_rules SET lab_id = 7 WHERE name = 'ram_changed'": [],
        "INSERT INTO alert_rules (name, kind, metric, threshold, lab_id, enabled) "
        "VALUES ('ram_changed', 'changed', 'ram_total_bytes', 5, 7, false)": [USUAL],
        # The name is taken.
        "INSERT INTO alert_rules (name, metric, threshold) VALUES ('disk_changed', 'disk_percent', 3)": [
            ("disk_percent", 3.0, "warning", True, timedelta(0))
        ],
    }.items(),
)
def test_the_rule_comes_as_the_one_about_memory_is(older, done_before, found):
    older.execute(done_before)
    older.commit()
    upgrade(older)
    assert older.execute(RULE).fetchall() == found


def test_a_rule_that_was_changed_or_removed_afterwards_does_not_come_back(older):
    upgrade(older)
    older.execute("DELETE FROM alert_rules WHERE name = 'disk_changed'")
    older.commit()
    upgrade(older)
    assert older.execute(RULE).fetchall() == []


def raw(connection, at):
    """A reading as the labmon of that time wrote it."""
    connection.execute("SELECT labmon_metrics_day(%s::date)", [at])
    connection.execute("INSERT INTO metrics (system_id, collected_at, load1) VALUES (1, %s, 1.5)", [at])
    connection.commit()


def new(connection, at):
    readings = Readings(load1=2.5, disk_total_bytes=10**12)
    record_metrics(connection, [Metrics(system_id=1, collected_at=at, metrics=readings)])
    connection.commit()


def summed_up(connection):
    while roll_up(connection, utcnow()):
        connection.commit()
    connection.commit()


PACKED_BEFORE = """
INSERT INTO metrics_packed (hour, system_id, readings, collected_at, load1)
SELECT %(hour)s, 1, 1, labmon_pack(ARRAY[%(at)s::timestamptz], %(hour)s), labmon_pack(ARRAY[1.5]::real[])
"""


def test_readings_from_before_are_read_packed_and_summed_up_with_the_new_ones(older):
    hour = NOON - timedelta(days=40)
    first, past = f"{hour:%Y-%m-01 00:00+00}", f"{hour + timedelta(days=31):%Y-%m-01 00:00+00}"
    older.execute(
        f"CREATE TABLE one_month PARTITION OF metrics_packed FOR VALUES FROM ('{first}') TO ('{past}')"
    )
    older.execute(PACKED_BEFORE, {"hour": hour, "at": hour + timedelta(minutes=5)})
    raw(older, NOON)
    upgrade(older)
    new(older, NOON + timedelta(minutes=1))  # into a partition that was there before
    new(older, NOON + timedelta(days=1))
    query = "SELECT load1, disk_total_bytes FROM readings ORDER BY collected_at"
    assert older.execute(query).fetchall() == [(1.5, None), (1.5, None), (2.5, 10**12), (2.5, 10**12)]

    summed_up(older)
    query = """
    SELECT readings, disk_total_bytes_count, disk_total_bytes_min, disk_total_bytes_avg, disk_total_bytes_max
    FROM metrics_1h WHERE bucket = %s
    """
    assert older.execute(query, [NOON]).fetchone() == (2, 1, 10**12, 1e12, 10**12)

    (day,) = [one for one in partitions.partitions(older, "metrics") if one.day == NOON.date()]
    assert pack.pack(older, day) == 2
    query = "SELECT load1, disk_total_bytes FROM readings WHERE hour = %s ORDER BY 1"
    assert older.execute(query, [NOON]).fetchall() == [(1.5, None), (2.5, 10**12)]


def test_one_table_gets_the_column_too(older):
    """As TimescaleDB has it, as far as that can be tried here."""
    older.execute(timescale.statements("0001_one_table.sql"))
    older.commit()
    upgrade(older)
    new(older, NOON)
    assert older.execute("SELECT disk_total_bytes FROM readings").fetchall() == [(10**12,)]


def test_one_table_made_afterwards_has_the_column(older):
    upgrade(older)
    older.execute(timescale.statements("0001_one_table.sql"))
    older.commit()
    new(older, NOON)
    assert older.execute("SELECT disk_total_bytes FROM readings").fetchall() == [(10**12,)]
