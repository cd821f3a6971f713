import pytest

from labmon.brokers.base import Message
from labmon.brokers.memory import MemoryBroker, MemoryServer


@pytest.fixture
def broker(clock):
    with MemoryBroker(MemoryServer(clock), lease=60.0, ttl={"work": 3600.0}) as broker:
        broker.declare("work")
        yield broker


def test_the_lease_ends_by_the_given_clock(broker, clock):
    broker.publish("work", [Message("a", b"")])
    consumer, other = broker.consume("work"), broker.consume("work")
    assert len(consumer.receive(1, 0)) == 1
    clock.now += 59
    assert other.receive(1, 0) == []
    clock.now += 1
    (delivery,) = other.receive(1, 0)
    assert delivery.attempt == 2


def test_age_and_expiry_are_by_the_given_clock(broker, clock):
    broker.publish("work", [Message("a", b"")])
    clock.now += 3600
    assert broker.depth("work").oldest_age_seconds == 3600
    consumer = broker.consume("work")
    (delivery,) = consumer.receive(1, 0)
    assert delivery.enqueued_at.timestamp() == 1000 and not delivery.expired
    consumer.release([delivery])
    clock.now += 1
    (delivery,) = consumer.receive(1, 0)
    assert delivery.expired
    consumer.reject([delivery], "expired")
    (dead,) = broker.dead_letters("work")
    assert dead.died_at.timestamp() == 4601


def test_two_servers_share_nothing():
    with MemoryBroker() as one, MemoryBroker() as other:
        assert one.declare("work") and other.declare("work")
        one.publish("work", [Message("a", b"")])
        assert other.depth("work").ready == 0
