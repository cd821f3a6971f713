"""The five faults of the consumer that labmon replaces, each on every broker: not here."""

import threading
from datetime import timedelta

import psycopg
import pytest

from labmon.app.open import ingest_settings
from labmon.brokers.base import Message
from labmon.config.load import load
from labmon.consume.worker import Worker
from labmon.errors import BrokerUnavailable
from labmon.ingest.handlers import handlers
from labmon.messages import Metrics, Readings, encode, utcnow

QUEUE = "metrics_queue"


@pytest.fixture
def broker(any_server):
    broker = any_server.open()
    broker.declare(QUEUE)
    return broker


@pytest.fixture
def work(any_server, store, config, connection):
    """Empties the queue."""
    connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
    connection.execute("INSERT INTO systems (system_id, dept_id) VALUES (42, 1)")
    connection.commit()

    def run(handle=None, **settings):
        environ = {f"LABMON_CONSUME_{name}".upper(): str(value) for name, value in settings.items()}
        consume = load(environ=environ).config.consume
        handle = handle or handlers(ingest_settings(config))[QUEUE]
        stop = threading.Event()
        Worker(QUEUE, handle, any_server.open, store, consume, stop, until_empty=True).run()

    return run


def reading(number=0):
    at = utcnow().replace(microsecond=0) - timedelta(hours=2) + timedelta(seconds=number)
    return Metrics(system_id=42, collected_at=at, metrics=Readings(cpu_percent=5.0))


def put(broker, *bodies):
    broker.publish(QUEUE, [Message.new(body, "metrics.collected") for body in bodies])


def test_one_row_per_commit(broker, work, connection):
    put(broker, *(encode(reading(n)) for n in range(1000)))
    work(batch=500)
    rows, commits = connection.execute("SELECT count(*), count(DISTINCT xmin::text) FROM metrics").fetchone()
    assert rows == 1000
    assert commits <= 4  # a batch is what has arrived by then


def test_prefetch_1(broker, work, config):
    put(broker, *(encode(reading(n)) for n in range(1000)))
    usual, sizes = handlers(ingest_settings(config))[QUEUE], []

    def handle(connection, bodies, *more):
        sizes.append(len(bodies))
        return usual(connection, bodies, *more)

    work(handle, batch=250)
    assert max(sizes) == 250


def test_stamps_insertion_time(broker, work, connection):
    one = reading()
    put(broker, encode(one))
    work()
    assert connection.execute("SELECT collected_at FROM metrics").fetchall() == [(one.collected_at,)]


def test_throws_bad_json_away(broker, work, connection):
    put(broker, encode(reading(1)), b'{"system_id": 42, ', encode(reading(2)))
    work()
    assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (2,)
    (letter,) = broker.dead_letters(QUEUE)
    assert letter.message.body == b'{"system_id": 42, '
    assert letter.reason.startswith("undecodable: not JSON")


def test_requeues_poison_for_ever(broker, work, connection, config):
    usual, tries = handlers(ingest_settings(config))[QUEUE], []

    def handle(connection, bodies, *more):
        if b"poison" in bodies:
            tries.append(len(bodies))
            raise psycopg.errors.NumericValueOutOfRange("too big")
        return usual(connection, bodies, *more)

    put(broker, encode(reading(1)), b"poison", encode(reading(2)))
    work(handle, max_attempts=3)
    assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (2,)
    (letter,) = broker.dead_letters(QUEUE)
    assert (letter.message.body, letter.reason, letter.error) == (b"poison", "failed 3 times", "too big")
    assert tries.count(1) == 3  # alone; and first of all in a batch with the others
    assert broker.depth(QUEUE).ready == 0


# findings A13: it connected, failed and connected again without end, and said each time that it was back
@pytest.mark.parametrize("until_empty", [True, False])
def test_a_broker_that_lets_nobody_read_is_away(redis, store, config, caplog, until_empty):
    with redis.open() as broker:
        broker.declare(QUEUE)
    stop = threading.Event()
    worker = Worker(
        *(QUEUE, handlers(ingest_settings(config))[QUEUE], redis.open, store, config.consume, stop),
        until_empty=until_empty,
    )
    redis.cli("CONFIG", "SET", "min-replicas-to-write", "1")
    try:
        if until_empty:
            with pytest.raises(BrokerUnavailable, match="NOREPLICAS"):
                worker.run()
        else:
            timer = threading.Timer(3, stop.set)
            timer.start()
            worker.run()
            assert "is back, after" not in caplog.text
    finally:
        redis.cli("CONFIG", "SET", "min-replicas-to-write", "0")
