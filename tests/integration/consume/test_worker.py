"""The worker's loop, on the broker in memory and a real store."""

import json
import re
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest

from labmon.app.open import ingest_settings, open_store
from labmon.brokers.base import Message
from labmon.brokers.memory import MemoryBroker, MemoryServer
from labmon.config.load import load
from labmon.consume.worker import Worker
from labmon.errors import StoreRefused
from labmon.ingest.handlers import handlers
from labmon.messages import Alert, Metrics, Readings, encode, utcnow

QUEUE = "metrics_queue"


@pytest.fixture
def server():
    return MemoryServer()


@pytest.fixture
def broker(server):
    with MemoryBroker(server) as broker:
        broker.declare(QUEUE)
        yield broker


@pytest.fixture
def machine(connection):
    connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
    connection.execute("INSERT INTO systems (system_id, dept_id, ip_address) VALUES (42, 1, '10.0.0.42')")
    connection.commit()
    return 42


@pytest.fixture
def worker(server, store, config):
    def make(
        handle=None, *, stop=None, until_empty=True, open_broker=lambda: MemoryBroker(server), **settings
    ):
        environ = {f"LABMON_CONSUME_{name}".upper(): str(value) for name, value in settings.items()}
        consume = load(environ=environ).config.consume
        handle = handle or handlers(ingest_settings(config))[QUEUE]
        stop = stop or threading.Event()
        return Worker(QUEUE, handle, open_broker, store, consume, stop, until_empty=until_empty)

    return make


def reading(seconds=0, system_id=42):
    at = utcnow() - timedelta(hours=1) + timedelta(seconds=seconds)
    return encode(Metrics(system_id=system_id, collected_at=at, metrics=Readings(cpu_percent=5.0)))


def put(broker, *bodies):
    broker.publish(QUEUE, [Message.new(body) for body in bodies])


def stored(connection):
    connection.rollback()  # a new snapshot
    return connection.execute("SELECT count(*) FROM metrics").fetchone()[0]


def dead(broker):
    return [(letter.reason, letter.error, letter.attempt) for letter in broker.dead_letters(QUEUE)]


def test_good_messages_are_stored_and_acked(broker, worker, machine, connection):
    put(broker, *(reading(n) for n in range(1200)))
    one = worker()
    one.run()
    assert (one.tally.stored, stored(connection)) == (1200, 1200)
    assert (broker.depth(QUEUE).ready, broker.depth(QUEUE).in_flight, dead(broker)) == (0, 0, [])


@pytest.mark.parametrize(
    "body, named",
    [
        (b"not json", "undecodable: not JSON"),
        (
            json.dumps({"collected_at": "2025-11-25T10:35:00Z", "metrics": {"load1": 1}}).encode(),
            "`system_id`",
        ),
        (reading(system_id=99), "unknown system: system_id 99"),
        (
            reading().replace(b":5.0", b":100.5"),
            "<= 100.0 - at `$.metrics.cpu_percent`",
        ),
        (reading(seconds=3600 * 24), "is in the future"),
    ],
    ids=["no JSON", "no machine", "unknown machine", "too large", "future"],
)
def test_what_can_never_be_stored_goes_to_the_dead_letters_and_the_rest_is_stored(
    broker, worker, machine, connection, body, named
):
    put(broker, reading(1), body, reading(2))
    one = worker()
    one.run()
    assert stored(connection) == 2
    ((reason, _, attempt),) = dead(broker)
    assert named in reason
    assert attempt == 1
    assert broker.depth(QUEUE).ready == 0


def test_an_expired_message_is_not_handled(server, broker, worker, machine, connection):
    put(broker, reading(1))
    server.clock = lambda: time.time() + 100
    worker(open_broker=lambda: MemoryBroker(server, ttl={QUEUE: 60})).run()
    assert stored(connection) == 0
    assert dead(broker) == [("expired", "", 1)]


def test_a_batch_that_fails_for_an_unknown_reason_costs_only_the_culprit(
    broker, worker, machine, connection, config
):
    usual = handlers(ingest_settings(config))[QUEUE]

    def handle(connection, bodies, *more):
        if b"poison" in bodies:
            raise psycopg.errors.NumericValueOutOfRange("too big")
        return usual(connection, bodies, *more)

    put(broker, reading(1), b"poison", reading(2), reading(3))
    worker(handle, max_attempts=3).run()
    assert stored(connection) == 3
    assert dead(broker) == [("failed 3 times", "too big", 3)]


def test_what_somebody_s_own_trigger_refuses_is_the_message_s_fault(broker, worker, machine, connection):
    connection.execute(
        "CREATE FUNCTION picky() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF NEW.cpu_percent = 13 THEN RAISE EXCEPTION ''unlucky''; END IF; RETURN NEW; END'"
    )
    connection.execute("CREATE TRIGGER picky BEFORE INSERT ON metrics FOR EACH ROW EXECUTE FUNCTION picky()")
    connection.commit()
    put(broker, reading(1), reading(2).replace(b":5.0", b":13.0"), reading(3))
    worker(max_attempts=2).run()
    assert stored(connection) == 2
    ((reason, error, _),) = dead(broker)
    assert (reason, error[:7]) == ("failed 2 times", "unlucky")


def test_a_database_that_answers_and_stores_nothing_is_asked_less_and_less_often(
    broker, worker, machine, connection, config, monkeypatch, caplog
):
    waits = []
    monkeypatch.setattr("labmon.backoff.random.uniform", lambda least, most: waits.append(most) or 0.01)

    def handle(connection, bodies, *more):
        if len(waits) < 5:
            raise psycopg.errors.ReadOnlySqlTransaction("a standby")
        return handlers(ingest_settings(config))[QUEUE](connection, bodies, *more)

    put(broker, reading(1), reading(2))
    worker(handle, max_attempts=1).run()
    assert (stored(connection), dead(broker), waits) == (2, [], [0.5, 1, 2, 4, 8])
    assert caplog.text.count("the database is back") == 1


def test_a_handler_with_a_bug_loses_nothing(broker, worker, machine):
    def handle(connection, bodies, *more):
        raise KeyError("a bug")

    put(broker, reading(1), reading(2))
    worker(handle, max_attempts=2).run()
    assert dead(broker) == [("failed 2 times", "'a bug'", 2)] * 2


def test_a_repeat_is_stored_once_and_acked(broker, worker, machine, connection):
    body = reading(1)
    put(broker, body, body)
    worker().run()
    put(broker, body)
    worker().run()
    assert stored(connection) == 1
    assert dead(broker) == []


@contextmanager
def running(worker):
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker._stop.set()
        thread.join(30)
        assert not thread.is_alive()


def eventually(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_database_that_goes_away_costs_no_message_an_attempt(
    own_postgres_server, schema_template, postgres_server, server, broker, worker, machine, monkeypatch
):
    from labmon.store.migrate import migrate

    with psycopg.connect(own_postgres_server.url()) as connection:
        migrate(connection)
        connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
        connection.execute("INSERT INTO systems (system_id, dept_id) VALUES (42, 1)")
    environ = {
        "LABMON_DATABASE_URL": own_postgres_server.url(),
        "LABMON_DATABASE_CONNECT_TIMEOUT": "1",
    }
    with open_store(load(environ=environ).config) as store:
        one = worker(until_empty=False, max_attempts=2)
        one._store = store
        put(broker, reading(1))
        with running(one):
            eventually(lambda: one.tally.stored == 1)
            own_postgres_server.stop()
            put(broker, *(reading(n) for n in range(2, 50)))
            eventually(lambda: broker.depth(QUEUE).ready == 48)
            time.sleep(1.5)
            own_postgres_server.start()
            eventually(lambda: one.tally.stored == 49)
    assert dead(broker) == []
    with psycopg.connect(own_postgres_server.url()) as connection:
        assert stored(connection) == 49


def test_a_broker_that_goes_away_is_met_again(server, broker, worker, machine, connection):
    one = worker(until_empty=False)
    with running(one):
        put(broker, reading(1))
        eventually(lambda: one.tally.stored == 1)
        server.stop()
        time.sleep(0.7)
        server.start()
        put(broker, reading(2))
        eventually(lambda: one.tally.stored == 2)
    assert stored(connection) == 2


def test_a_refusal_of_the_database_ends_the_worker_and_gives_the_messages_back(
    broker, worker, machine, connection
):
    connection.execute("ALTER TABLE systems RENAME TO gone")
    connection.commit()
    put(broker, reading(1))
    with pytest.raises(StoreRefused, match="systems"):
        worker().run()
    assert (broker.depth(QUEUE).ready, broker.depth(QUEUE).in_flight, dead(broker)) == (1, 0, [])


def test_stopping_finishes_the_batch_and_gives_back_the_rest(broker, worker, machine, connection, config):
    usual, stop = handlers(ingest_settings(config))[QUEUE], threading.Event()

    def handle(connection, bodies, *more):
        stop.set()
        return usual(connection, bodies, *more)

    put(broker, *(reading(n) for n in range(100)))
    worker(handle, stop=stop, batch=10).run()
    assert stored(connection) == 10
    assert (broker.depth(QUEUE).ready, broker.depth(QUEUE).in_flight) == (90, 0)


def test_messages_wait_for_others_no_longer_than_they_may(broker, worker, machine, connection):
    one = worker(until_empty=False, flush="300ms")
    with running(one):
        for n in range(20):
            put(broker, reading(n))
            time.sleep(0.01)
        eventually(lambda: one.tally.stored == 20)
    (commits,) = connection.execute("SELECT count(DISTINCT xmin::text) FROM metrics").fetchone()
    assert commits <= 3


def test_a_full_batch_waits_for_nobody(broker, worker, machine):
    one = worker(until_empty=False, flush="20s", batch=10)
    with running(one):
        put(broker, *(reading(n) for n in range(10)))
        eventually(lambda: one.tally.stored == 10, seconds=10)


def test_a_stop_does_not_wait_for_the_batch_to_fill(broker, worker, machine, connection):
    one = worker(until_empty=False, flush="20s")
    with running(one):
        put(broker, reading(1))
        eventually(lambda: broker.depth(QUEUE).in_flight == 1)
        began = time.monotonic()
    assert time.monotonic() - began < 5
    assert stored(connection) == 1


def test_an_outage_is_said_once_and_so_is_its_end(server, broker, worker, machine, caplog, monkeypatch):
    monkeypatch.setattr("labmon.consume.worker.Backoff.wait", lambda _, stop: stop.wait(0.1))
    one = worker(until_empty=False)
    with running(one):
        put(broker, reading(1))
        eventually(lambda: one.tally.stored == 1)
        server.stop()
        eventually(lambda: one.progress.state == "no broker")
        time.sleep(1)
        server.start()
        eventually(lambda: one.progress.state == "idle")
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 2
    assert said[0].endswith("trying again until it is back")
    assert re.search("the broker is back, after [12] s", said[1])


def test_progress_tells_what_a_worker_is_at(broker, worker, machine, connection, config):
    usual, seen = handlers(ingest_settings(config))[QUEUE], []

    def handle(connection, bodies, *more):
        seen.append(one.progress)
        return usual(connection, bodies, *more)

    one = worker(handle)
    assert (one.progress.state, one.progress.last_batch) == ("starting", None)
    put(broker, reading(1), b"bad", reading(2))
    one.run()
    assert [(p.state, p.stored) for p in seen] == [("busy", 0)]
    done = one.progress
    assert (done.state, done.stored, done.rejected, done.last_batch) == ("ended", 2, 1, 3)


# An unexpected exception from one message buries that message alone


@pytest.mark.parametrize(
    "error", [RecursionError("too deep"), KeyError("bug"), ZeroDivisionError(), OSError(5, "gone")]
)
def test_a_bug_that_one_message_meets_costs_no_other_its_place(
    broker, worker, machine, connection, config, error
):
    usual = handlers(ingest_settings(config))[QUEUE]

    def handle(connection, bodies, *more):
        if b"poison" in bodies:
            raise error
        return usual(connection, bodies, *more)

    put(broker, reading(1), b"poison", reading(2))
    worker(handle, max_attempts=2).run()
    assert stored(connection) == 2
    assert [letter.message.body for letter in broker.dead_letters(QUEUE)] == [b"poison"]


def test_numbers_that_no_column_holds_are_dead_letters_at_once(broker, worker, machine, connection, config):
    """They cost five attempts each, with all their neighbours (findings D4)."""
    usual, calls = handlers(ingest_settings(config))[QUEUE], []

    def handle(connection, bodies, *more):
        calls.append(len(bodies))
        return usual(connection, bodies, *more)

    small = [reading(n).replace(b":5.0", b":%de-46" % (n + 1)) for n in range(10)]
    put(broker, *(reading(n) for n in range(100, 200)), *small, reading(50).replace(b":5.0", b":1e400"))
    worker(handle).run()
    assert (stored(connection), len(calls)) == (100, 1)
    letters = broker.dead_letters(QUEUE)
    assert len(letters) == 11
    assert all("cpu_percent" in letter.reason and letter.attempt == 1 for letter in letters)


def test_one_alert_that_cannot_be_shown_keeps_no_other_out_of_the_list(connection, config, machine):
    """Valid by the schema, stored, and then `alerts list` failed for the whole batch (findings D4)."""
    at = utcnow() - timedelta(minutes=5)
    alerts = [
        Alert(system_id=42, alert_type=name, severity="info", value=value, threshold=1, at=at)
        for name, value in (("good", 1.0), ("tiny", 1e-46), ("tinier", -5e-324), ("other", 2.0))
    ]
    rejected = handlers(ingest_settings(config))["alert_queue"](connection, [encode(one) for one in alerts])
    assert {place: "`value`" in one.reason for place, one in rejected.items()} == {1: True, 2: True}
    rows = connection.execute("SELECT alert_type, value::real FROM alerts ORDER BY alert_type").fetchall()
    assert rows == [("good", 1.0), ("other", 2.0)]


def test_a_number_too_small_is_named_also_among_repeats(connection, config, machine):
    """A batch that meets a repeat is stored by another way, where such a number costs the batch."""
    handle = handlers(config)[QUEUE]
    good, small = reading(1), reading(2).replace(b":5.0", b":1e-46")
    assert handle(connection, [good]) == {}
    connection.commit()
    assert stored(connection) == 1
    for batch in ([small], [reading(3), small], [small, small]):
        rejected = handle(connection, batch)
        assert {one.reason for one in rejected.values()} == {
            "undecodable: `cpu_percent` is nearer to 0 than 1.4e-45, which cannot be stored; send 0"
        }
    connection.commit()
    assert stored(connection) == 2
