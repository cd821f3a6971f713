"""Storing without a queue, on a real server that goes away and comes back."""

from datetime import timedelta

import psycopg
import pytest

from labmon.consume.direct import BATCH, Direct
from labmon.errors import SchemaOutOfDate, StoreError
from labmon.messages import Discovery, Metrics, Readings, SystemStatus, utcnow
from labmon.settings import load
from labmon.spool import Spool, SpoolError
from labmon.store.migrate import migrate
from labmon.store.pool import Store

NOW = utcnow() - timedelta(hours=1)


@pytest.fixture
def server(own_postgres_server):
    with psycopg.connect(own_postgres_server.url()) as connection:
        migrate(connection)
        connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
        connection.execute("INSERT INTO systems (system_id, dept_id) VALUES (42, 1)")
    return own_postgres_server


@pytest.fixture
def config(server, tmp_path):
    environ = {
        "LABMON_DATABASE_URL": server.url(),
        "LABMON_DATABASE_CONNECT_TIMEOUT": "1",
        "LABMON_STATE_DIR": str(tmp_path),
    }
    return load(environ=environ).config


@pytest.fixture
def spool(config):
    return Spool.of(config)


@pytest.fixture
def said():
    return []


@pytest.fixture
def direct(config, spool, said):
    """direct(open_store) -> a sink; its clock stands still unless it is moved."""

    def make(open_store):
        return Direct(open_store, config, spool, said.append, clock=lambda: make.now)

    make.now = 0.0
    return make


def reading(seconds=0, system_id=42):
    at = NOW + timedelta(seconds=seconds)
    return Metrics(system_id=system_id, collected_at=at, metrics=Readings(load1=1.0))


def stored(server):
    with psycopg.connect(server.url()) as connection:
        return connection.execute("SELECT count(*), count(DISTINCT collected_at) FROM metrics").fetchone()


def test_what_can_never_be_stored_is_said_and_counted(server, config, direct, spool, said):
    with Store(config) as store, direct(lambda: store) as sink:
        sink.send(reading())
        sink.send(reading(system_id=99))
        sink.flush()
    assert (sink.rejected, sink.spooled, stored(server)) == (1, 0, (1, 1))
    assert said == ["not stored: unknown system: system_id 99 is not in the inventory"]
    assert not spool.path.exists()


def test_the_database_goes_away_in_the_middle_and_comes_back_for_the_next_run(
    server, config, direct, spool, said
):
    with Store(config) as store:
        with direct(lambda: store) as sink:
            for n in range(700):  # a batch, and the begin of the next
                sink.send(reading(n))
            server.stop()
            for n in range(700, 1300):
                sink.send(reading(n))
            sink.flush()
        assert sink.spooled == spool.count() == 800
        (line,) = said
        assert f"PostgreSQL at 127.0.0.1:{server.port}" in line
        assert "Is it running? See [database] url. Messages waiting" in line
        assert line.endswith("Messages waiting in the spool: 800; they are stored first next time")

    server.start()
    assert stored(server) == (500, 500)
    with Store(config) as store, direct(lambda: store) as sink:
        assert stored(server) == (1300, 1300)
        assert spool.is_empty()
        sink.send(reading(5))
        sink.flush()
    assert (sink.spooled, stored(server), len(said)) == (0, (1300, 1300), 1)


def test_it_is_asked_again_after_a_pause_within_the_same_run(server, config, direct, spool, said):
    asked = []

    def open_store():
        asked.append(1)
        return Store(config)

    server.stop()
    with direct(open_store) as sink:
        for n in range(5):
            sink.send(reading(n))
            sink.flush()
        assert (len(asked), spool.count()) == (1, 5)
        server.start()
        direct.now += 31
        sink.send(reading(5))
        sink.flush()
        assert (stored(server), sink.spooled, len(asked)) == ((6, 6), 0, 2)
    sink._opened.close()
    assert said == []


def test_a_database_that_is_known_to_be_away_is_not_asked_again_at_once(server, config, spool, said):
    with Direct(pytest.fail, config, spool, said.append, away=True, clock=lambda: 0.0) as sink:
        sink.send(reading())
        sink.flush()
    assert said == ["Messages waiting in the spool: 1; they are stored first next time"]


def test_every_kind_survives_the_way_through_the_spool(server, config, direct, spool):
    server.stop()
    with direct(lambda: Store(config)) as sink:
        sink.send(Discovery(scan_id=1, dept_id=2, ip_address="10.0.0.9", discovered_at=NOW, scan_type="ping"))
        sink.send(
            SystemStatus(system_id=42, status="refused", since=NOW, checked_at=NOW, error="refused: no")
        )
        sink.flush()
    server.start()
    with Store(config) as store, direct(lambda: store):
        pass
    with psycopg.connect(server.url()) as connection:
        rows = connection.execute("SELECT dept_id, status FROM systems ORDER BY dept_id").fetchall()
    assert rows == [(1, "refused"), (2, "discovered")]


def test_a_database_of_another_version_loses_nothing_either(server, config, direct, spool, said):
    with psycopg.connect(server.url()) as connection:
        connection.execute("DELETE FROM labmon_schema WHERE version = 6")
    with direct(lambda: Store(config)) as sink:
        sink.send(reading())
        sink.flush()
    assert spool.count() == 1
    assert "labmon db migrate" in said[0]
    with pytest.raises(SchemaOutOfDate):
        Store(config)


def test_neither_database_nor_disk_is_an_error_and_the_next_flush_tries_again(
    server, config, direct, spool, monkeypatch
):
    def no_room(queue, messages):
        raise SpoolError("no room")

    server.stop()
    with direct(lambda: Store(config)) as sink:
        monkeypatch.setattr(spool, "append", no_room)
        sink.send(reading())
        with pytest.raises(
            SpoolError, match="1 messages were neither stored nor kept: no room; PostgreSQL at"
        ):
            sink.flush()
        server.start()
        sink.flush()
    sink._opened.close()
    assert stored(server) == (1, 1)


def test_one_that_the_database_takes_for_nonsense_costs_no_other_its_place(server, config, direct, spool):
    with psycopg.connect(server.url()) as connection:
        connection.execute("ALTER TABLE metrics ADD CHECK (load1 < 5)")
    with Store(config) as store, direct(lambda: store) as sink:
        for second in range(BATCH):
            load = 9.0 if second == 7 else 1.0
            at = NOW + timedelta(seconds=second)
            sink.send(Metrics(system_id=42, collected_at=at, metrics=Readings(load1=load)))
        sink.send(reading(BATCH))
        with pytest.raises(StoreError, match="^1 messages could not be stored: .*check constraint"):
            sink.flush()
    assert stored(server) == (BATCH, BATCH)
    assert spool.is_empty()


def test_what_the_database_takes_for_nonsense_is_an_error_and_no_reason_to_spool(
    server, config, direct, spool
):
    with psycopg.connect(server.url()) as connection:
        connection.execute("ALTER TABLE metrics ADD CHECK (load1 < 0)")
    with Store(config) as store, direct(lambda: store) as sink:
        sink.send(reading())
        with pytest.raises(StoreError, match="1 messages could not be stored"):
            sink.flush()
    assert spool.is_empty()
