"""The five faults of the consumer that labmon replaces, each on every broker: not here."""

import threading
from datetime import timedelta

import psycopg
import pytest

from labmon.brokers.base import Message
from labmon.consume.handlers import handlers
from labmon.consume.worker import Worker
from labmon.messages import Metrics, Readings, encode, utcnow
from labmon.settings import load

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
        handle = handle or handlers(config)[QUEUE]
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
    usual, sizes = handlers(config)[QUEUE], []

    def handle(connection, bodies):
        sizes.append(len(bodies))
        return usual(connection, bodies)

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
    usual, tries = handlers(config)[QUEUE], []

    def handle(connection, bodies):
        if b"poison" in bodies:
            tries.append(len(bodies))
            raise psycopg.errors.NumericValueOutOfRange("too big")
        return usual(connection, bodies)

    put(broker, encode(reading(1)), b"poison", encode(reading(2)))
    work(handle, max_attempts=3)
    assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (2,)
    (letter,) = broker.dead_letters(QUEUE)
    assert (letter.message.body, letter.reason, letter.error) == (b"poison", "failed 3 times", "too big")
    assert tries.count(1) == 3  # alone; and first of all in a batch with the others
    assert broker.depth(QUEUE).ready == 0
