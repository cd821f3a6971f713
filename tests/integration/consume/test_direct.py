"""Storing without a queue, on a real server that goes away and comes back."""

from datetime import timedelta

import psycopg
import pytest

from labmon.app.open import ingest_settings, open_spool, open_store
from labmon.brokers.base import Message
from labmon.config.load import load
from labmon.errors import SchemaOutOfDate, StoreError
from labmon.messages import Discovery, Metrics, Readings, SystemStatus, encode, utcnow
from labmon.sinks.buffered import BATCH
from labmon.sinks.direct import DirectSink
from labmon.sinks.spool.spool import SpoolError
from labmon.store.identity import database_id
from labmon.store.migrate import migrate

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
    return open_spool(config)


@pytest.fixture
def said():
    return []


@pytest.fixture
def direct(config, spool, said):
    """direct(open_store) -> a sink; its clock stands still unless it is moved."""

    def make(open_store):
        return DirectSink(open_store, ingest_settings(config), spool, said.append, clock=lambda: make.now)

    make.now = 0.0
    return make


def reading(seconds=0, system_id=42):
    at = NOW + timedelta(seconds=seconds)
    return Metrics(system_id=system_id, collected_at=at, metrics=Readings(load1=1.0))


def stored(server):
    with psycopg.connect(server.url()) as connection:
        return connection.execute("SELECT count(*), count(DISTINCT collected_at) FROM metrics").fetchone()


def test_what_can_never_be_stored_is_said_and_counted(server, config, direct, spool, said):
    with open_store(config) as store, direct(lambda: store) as sink:
        sink.send(reading())
        sink.send(reading(system_id=99))
        sink.flush()
    assert (sink.rejected, sink.spooled, stored(server)) == (1, 0, (1, 1))
    assert said == ["not stored: unknown system: system_id 99 is not in the inventory"]
    assert not spool.path.exists()


def test_the_database_goes_away_in_the_middle_and_comes_back_for_the_next_run(
    server, config, direct, spool, said
):
    with open_store(config) as store:
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
    with open_store(config) as store, direct(lambda: store) as sink:
        assert stored(server) == (1300, 1300)
        assert spool.is_empty()
        sink.send(reading(5))
        sink.flush()
    assert (sink.spooled, stored(server), len(said)) == (0, (1300, 1300), 1)


def test_it_is_asked_again_after_a_pause_within_the_same_run(server, config, direct, spool, said):
    asked = []

    def opened():
        asked.append(1)
        return open_store(config)

    server.stop()
    with direct(opened) as sink:
        for n in range(5):
            sink.send(reading(n))
            sink.flush()
        assert (len(asked), spool.count()) == (1, 5)
        server.start()
        direct.now += 31
        sink.send(reading(5))
        sink.flush()
        assert (stored(server), sink.spooled, len(asked)) == ((6, 6), 0, 2)
    sink._store.close()
    assert said == []


def test_a_database_that_is_known_to_be_away_is_not_asked_again_at_once(server, config, spool, said):
    with DirectSink(
        pytest.fail, ingest_settings(config), spool, said.append, away=True, clock=lambda: 0.0
    ) as sink:
        sink.send(reading())
        sink.flush()
    assert said == ["Messages waiting in the spool: 1; they are stored first next time"]


def test_every_kind_survives_the_way_through_the_spool(server, config, direct, spool):
    server.stop()
    with direct(lambda: open_store(config)) as sink:
        sink.send(Discovery(scan_id=1, dept_id=2, ip_address="10.0.0.9", discovered_at=NOW, scan_type="ping"))
        sink.send(
            SystemStatus(system_id=42, status="refused", since=NOW, checked_at=NOW, error="refused: no")
        )
        sink.flush()
    server.start()
    with open_store(config) as store, direct(lambda: store):
        pass
    with psycopg.connect(server.url()) as connection:
        rows = connection.execute("SELECT dept_id, status FROM systems ORDER BY dept_id").fetchall()
    assert rows == [(1, "refused"), (2, "discovered")]


def test_a_database_of_another_version_loses_nothing_either(server, config, direct, spool, said):
    with psycopg.connect(server.url()) as connection:
        connection.execute("UPDATE labmon_schema_functions SET sha256 = 'another'")
    with direct(lambda: open_store(config)) as sink:
        sink.send(reading())
        sink.flush()
    assert spool.count() == 1
    assert "labmon db migrate" in said[0]
    with pytest.raises(SchemaOutOfDate):
        open_store(config)


def test_neither_database_nor_disk_is_an_error_and_the_next_flush_tries_again(
    server, config, direct, spool, monkeypatch
):
    def no_room(queue, messages, **_):
        raise SpoolError("no room")

    server.stop()
    with direct(lambda: open_store(config)) as sink:
        monkeypatch.setattr(spool, "append", no_room)
        sink.send(reading())
        with pytest.raises(SpoolError, match="1 message was neither stored nor kept: no room; PostgreSQL at"):
            sink.flush()
        server.start()
        sink.flush()
    sink._store.close()
    assert stored(server) == (1, 1)


def test_one_that_the_database_takes_for_nonsense_costs_no_other_its_place(server, config, direct, spool):
    with psycopg.connect(server.url()) as connection:
        connection.execute("ALTER TABLE metrics ADD CHECK (load1 < 5)")
    with open_store(config) as store, direct(lambda: store) as sink:
        for second in range(BATCH):
            load = 9.0 if second == 7 else 1.0
            at = NOW + timedelta(seconds=second)
            sink.send(Metrics(system_id=42, collected_at=at, metrics=Readings(load1=load)))
        sink.send(reading(BATCH))
        with pytest.raises(StoreError, match="^1 message could not be stored: .*check constraint"):
            sink.flush()
    assert stored(server) == (BATCH, BATCH)
    assert spool.is_empty()


def test_what_the_database_takes_for_nonsense_is_an_error_and_no_reason_to_spool(
    server, config, direct, spool
):
    with psycopg.connect(server.url()) as connection:
        connection.execute("ALTER TABLE metrics ADD CHECK (load1 < 0)")
    with open_store(config) as store, direct(lambda: store) as sink:
        sink.send(reading())
        with pytest.raises(StoreError, match="1 message could not be stored"):
            sink.flush()
    assert spool.is_empty()


def test_a_bug_that_one_message_meets_costs_no_other_its_place(server, config, direct, spool):
    with open_store(config) as store, direct(lambda: store) as sink:
        usual = sink._handlers["metrics_queue"]

        def handle(connection, bodies, *more):
            if any(b'"system_id":99,' in body for body in bodies):
                raise RecursionError("too deep")
            return usual(connection, bodies, *more)

        sink._handlers["metrics_queue"] = handle
        for system in (42, 99, 42):
            sink.send(reading(system, system))
        sink.send(reading(1))
        with pytest.raises(StoreError, match="^1 message could not be stored: RecursionError: too deep"):
            sink.flush()
    assert stored(server) == (2, 2)  # one reading came twice
    assert spool.is_empty()


def test_an_interruption_leaves_the_batch_in_the_spool(server, config, direct, spool, said):
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), direct(interrupted) as sink:
        sink.send(reading())
        sink.flush()
    assert spool.count() == 1
    assert said == [
        "interrupted. Messages waiting in the spool: 1; they are stored first next time",
    ]


# Misspelt queues and other databases (findings A9, A3)


def test_messages_for_no_configured_queue_hold_up_no_other(server, config, direct, spool, said):
    def message(seconds):
        return Message.new(encode(reading(seconds)))

    spool.append("metrcs_queue", [message(1)])
    spool.append("metrics_queue", [message(2)])
    spool.append("metrcs_queue", [message(3)])
    with open_store(config) as store, direct(lambda: store) as sink:
        sink.send(reading(4))
        sink.flush()
    assert stored(server) == (2, 2)
    assert {one.queue: one.messages for one in spool.status().queues} == {"metrcs_queue": 2}
    (line,) = said
    assert line.startswith("Messages for metrcs_queue stay in the spool: it is none of the configured queues")


def test_what_cannot_be_stored_holds_up_nothing_behind_it_in_the_spool(server, config, direct, spool):
    with psycopg.connect(server.url()) as connection:
        connection.execute("ALTER TABLE metrics ADD CHECK (load1 < 5)")
    bad = Metrics(system_id=42, collected_at=NOW, metrics=Readings(load1=9.0))
    spool.append("metrics_queue", [Message.new(encode(bad)), Message.new(encode(reading(1)))])
    with pytest.raises(StoreError, match="1 message could not be stored: .*check constraint"):
        with open_store(config) as store, direct(lambda: store) as sink:
            sink.flush()
    assert stored(server) == (1, 1)
    assert spool.is_empty()


def test_a_reading_of_another_database_s_machine_is_never_stored(server, config, direct, spool, said):
    """The inventory on disk is of one database, and the one that answers is another."""
    with open_store(config) as store, direct(lambda: store) as sink:
        sink.send(reading(1), database="another")
        sink.send(reading(2), database=sink_database(server))
        sink.send(reading(3))
        sink.flush()
    assert (stored(server), spool.count(), sink.spooled) == ((2, 2), 1, 1)
    assert said == ["1 message in the spool is about another database. See: labmon spool list"]
    with open_store(config) as store, direct(lambda: store):
        pass
    assert stored(server) == (2, 2)


def test_what_was_spooled_under_its_own_database_is_stored(server, config, direct, spool):
    server.stop()
    ours = None
    with direct(lambda: open_store(config)) as sink:
        sink.send(reading(1), database="another")
        sink.flush()
    server.start()
    ours = sink_database(server)
    spool.append("metrics_queue", [Message.new(encode(reading(2)))], database=ours)
    with open_store(config) as store, direct(lambda: store):
        pass
    assert stored(server) == (1, 1)
    assert [one.database for one in spool.browse(10)] == ["another"]


def sink_database(server):
    with psycopg.connect(server.url()) as connection:
        return database_id(connection)
