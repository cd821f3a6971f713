"""The relay: a real store, the broker in memory."""

import time

import pytest
from psycopg.types.json import Jsonb

from labmon.alerts.outbox import OutboxPublisher
from labmon.brokers.memory import MemoryBroker, MemoryServer
from labmon.errors import BrokerUnavailable
from labmon.messages import Alert, decode
from tests.integration.alerts.telling import running
from tests.support.clock import clock

QUEUE = "alert_queue"


@pytest.fixture
def server():
    return MemoryServer()


@pytest.fixture
def broker(server):
    with MemoryBroker(server) as broker:
        broker.declare(QUEUE)
        yield broker


@pytest.fixture
def incident(connection):
    return connection.execute(
        "INSERT INTO alert_incidents "
        "(alert_type, kind, system_id, severity, value, threshold, since, last_at) "
        "VALUES ('cpu_high', 'threshold', 42, 'critical', 95.5, 90, now(), now()) RETURNING alert_id"
    ).fetchone()[0]


def fire(connection, incident, severity="critical", commit=True):
    body = {
        "system_id": 42,
        "alert_type": "cpu_high",
        "severity": severity,
        "value": 95.5,
        "threshold": 90.0,
        "timestamp": "2026-03-02T12:00:00Z",
        "alert_id": incident,
    }
    connection.execute(
        "INSERT INTO alert_outbox (alert_id, severity, body) VALUES (%s, %s, %s)",
        [incident, severity, Jsonb(body)],
    )
    connection.execute("NOTIFY labmon_alerts")
    if commit:
        connection.commit()


def received(broker, count, seconds=10):
    deadline = time.monotonic() + seconds
    found = []
    with broker.consume(QUEUE) as consumer:
        while len(found) < count and time.monotonic() < deadline:
            new = consumer.receive(100, 0.1)
            consumer.ack(new)
            found += new
    assert len(found) == count
    return [one.message for one in found]


def waiting(connection):
    connection.rollback()
    return connection.execute("SELECT count(*) FROM alert_outbox WHERE published_at IS NULL").fetchone()[0]


def test_what_is_in_the_outbox_is_published_in_order_and_once(server, broker, store, connection, incident):
    fire(connection, incident)
    with running(OutboxPublisher(lambda: MemoryBroker(server), QUEUE), store):
        (first,) = received(broker, 1)
        fire(connection, incident, "warning")
        fire(connection, incident, "warning")
        rest = received(broker, 2)
        time.sleep(0.4)
        assert broker.depth(QUEUE).ready == 0
    # findings D5: in the queue itself, where a consumer written after the guide looks
    assert (first.routing_key, first.high) == ("alerts.critical", False)
    assert [(one.routing_key, one.high) for one in rest] == [("alerts.warning", False)] * 2
    assert decode(Alert, first.body).alert_id == incident
    assert waiting(connection) == 0


def test_a_wake_up_is_quick_and_a_lost_one_is_made_up_for(server, broker, store, connection, incident):
    with running(OutboxPublisher(lambda: MemoryBroker(server), QUEUE), store):
        fire(connection, incident)
        received(broker, 1)
        began = clock()
        fire(connection, incident)
        received(broker, 1)
        assert clock() - began < 0.6
        connection.execute(
            "INSERT INTO alert_outbox (alert_id, severity, body) "
            "SELECT alert_id, severity, body FROM alert_outbox LIMIT 1"
        )
        connection.commit()  # without a NOTIFY
        received(broker, 1, seconds=5)


def test_what_is_not_committed_is_not_published(server, broker, store, connection, incident):
    connection.commit()
    fire(connection, incident, commit=False)
    with running(OutboxPublisher(lambda: MemoryBroker(server), QUEUE), store):
        time.sleep(0.4)
        assert broker.depth(QUEUE).ready == 0
        connection.rollback()
        time.sleep(0.4)
        assert broker.depth(QUEUE).ready == 0


def test_while_the_broker_is_away_alerts_wait(server, broker, store, connection, incident, caplog):
    server.stop()
    with running(OutboxPublisher(lambda: MemoryBroker(server), QUEUE), store):
        fire(connection, incident)
        time.sleep(0.4)
        assert waiting(connection) == 1
        server.start()
        assert len(received(broker, 1, seconds=20)) == 1


def test_who_dies_before_it_is_marked_publishes_it_again_under_the_same_id(
    server, broker, store, connection, incident
):
    fire(connection, incident)

    class Dying(MemoryBroker):
        def publish(self, queue, messages):
            super().publish(queue, messages)
            raise BrokerUnavailable("the line went dead after the last byte")

    with store.session("test") as other:
        with pytest.raises(BrokerUnavailable):
            OutboxPublisher(lambda: Dying(server), QUEUE).forward_all(other)
        assert OutboxPublisher(lambda: MemoryBroker(server), QUEUE).forward_all(other) == 1
        assert OutboxPublisher(lambda: MemoryBroker(server), QUEUE).forward_all(other) == 0
    first, second = received(broker, 2)
    assert first.id == second.id
    assert first.body == second.body
