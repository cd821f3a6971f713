import pytest

from labmon.brokers.base import Message
from labmon.brokers.memory import MemoryBroker, MemoryServer
from labmon.consume.queue_depths import QueueDepths
from labmon.errors import BrokerUnavailable


@pytest.fixture
def server():
    return MemoryServer()


@pytest.fixture
def depths(server):
    made = []

    def open_broker():
        made.append(MemoryBroker(server))
        return made[-1]

    depths = QueueDepths(["a", "b"], open_broker)
    depths.made = made
    yield depths
    depths.close()


def test_what_is_not_declared_yet_is_left_out(server, depths):
    with MemoryBroker(server) as broker:
        broker.declare("a")
        broker.publish("a", [Message.new(b"x")])
    assert depths.known == {}
    depths.refresh()
    assert {queue: depth.ready for queue, depth in depths.known.items()} == {"a": 1}


def test_one_connection_serves_all_refreshes(server, depths):
    for _ in range(3):
        depths.refresh()
    assert len(depths.made) == 1


def test_nothing_is_known_while_the_broker_is_away(server, depths):
    with MemoryBroker(server) as broker:
        broker.declare("b")
    depths.refresh()
    assert set(depths.known) == {"b"}
    server.stop()
    with pytest.raises(BrokerUnavailable):
        depths.refresh()
    assert depths.known == {}
    server.start()
    depths.refresh()
    assert set(depths.known) == {"b"}


def test_closing_twice_is_harmless(depths):
    depths.close()
    depths.refresh()
    depths.close()
    depths.close()
