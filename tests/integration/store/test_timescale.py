"""As much of it as can be tried where there is no TimescaleDB."""

from datetime import timedelta

from labmon.store import migrate, schema
from labmon.store.housekeeping import tick
from labmon.store.metrics import partitions, timescale

from .conftest import NOON


def test_a_server_without_the_extension_is_left_alone(connection):
    assert not timescale.is_possible(connection)


def test_readings_in_one_table_are_stored_read_and_summed_up_as_ever(store, config, connection, put):
    connection.execute(schema.read("timescale", "one_table").sql)
    connection.commit()
    assert put((1, NOON, {"load1": 1}), (2, NOON, {"load1": 2})) == 2
    assert put((1, NOON, {"load1": 1})) == 0
    assert connection.execute("SELECT count(*) FROM readings").fetchone() == (2,)
    assert partitions.partitions(connection, "metrics") == []
    connection.rollback()
    assert tick(store, config.retention, config.events, now=NOON + timedelta(days=9)).summed_up == 6
    assert connection.execute("SELECT sum(readings) FROM metrics_1d").fetchone() == (2,)


def test_functions_are_applied_again_to_readings_in_one_table(connection, put):
    connection.execute(schema.read("timescale", "one_table").sql)
    connection.execute("DELETE FROM labmon_schema_functions")
    assert len(migrate.migrate(connection).functions) == len(schema.FUNCTIONS)
    connection.commit()
    put((1, NOON, {"load1": 1, "disk_total_bytes": 10**12}))
    assert connection.execute("SELECT load1, disk_total_bytes FROM readings").fetchall() == [(1, 10**12)]
    assert connection.execute("SELECT count(*) FROM rollup_due").fetchone() == (1,)
