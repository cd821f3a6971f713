"""As much of it as can be tried where there is no TimescaleDB."""

from datetime import timedelta

from labmon.store import partitions, timescale
from labmon.store.housekeeping import tick

from .conftest import NOON


def test_a_server_without_the_extension_is_left_alone(connection):
    assert not timescale.is_possible(connection)


def test_readings_in_one_table_are_stored_read_and_summed_up_as_ever(store, config, connection, put):
    connection.execute(timescale.statements("0001_one_table.sql"))
    connection.commit()
    assert put((1, NOON, {"load1": 1}), (2, NOON, {"load1": 2})) == 2
    assert put((1, NOON, {"load1": 1})) == 0
    assert connection.execute("SELECT count(*) FROM readings").fetchone() == (2,)
    assert partitions.partitions(connection, "metrics") == []
    connection.rollback()
    assert tick(store, config, now=NOON + timedelta(days=9)).summed_up == 6
    assert connection.execute("SELECT sum(readings) FROM metrics_1d").fetchone() == (2,)
