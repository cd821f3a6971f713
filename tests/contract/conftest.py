"""The brokers that the contract suite runs over."""

from collections.abc import Iterator

import pytest

from tests.contract.servers import (
    BrokerServer,
    MemoryBrokers,
    PostgresBrokers,
    RabbitBrokers,
    RedisBrokers,
)

KINDS = ["memory", "postgres", "redis", "rabbitmq"]


@pytest.fixture
def memory() -> BrokerServer:
    return MemoryBrokers()


@pytest.fixture
def own_memory() -> BrokerServer:
    return MemoryBrokers()


@pytest.fixture
def postgres(postgres_server) -> Iterator[BrokerServer]:
    with postgres_server.database() as name:
        yield PostgresBrokers(postgres_server, name)


@pytest.fixture
def own_postgres(own_postgres_server) -> BrokerServer:
    return PostgresBrokers(own_postgres_server, "postgres")


@pytest.fixture
def redis(redis_server) -> BrokerServer:
    return RedisBrokers(redis_server)


@pytest.fixture
def own_redis(own_redis_server) -> BrokerServer:
    return RedisBrokers(own_redis_server)


@pytest.fixture
def rabbitmq(rabbitmq_server, monkeypatch) -> Iterator[BrokerServer]:
    monkeypatch.setattr("labmon.brokers.rabbitmq.publisher.NEW_QUEUE", 0.0)  # nobody kills this server
    with rabbitmq_server.vhost() as name:
        yield RabbitBrokers(rabbitmq_server, name)


@pytest.fixture
def own_rabbitmq(own_rabbitmq_server) -> BrokerServer:
    return RabbitBrokers(own_rabbitmq_server, "/")


@pytest.fixture(params=KINDS)
def server(request) -> Iterator[BrokerServer]:
    """A clean broker, on a server that other tests use too."""
    yield from _clean(request, request.param)


@pytest.fixture(params=KINDS)
def own_server(request) -> Iterator[BrokerServer]:
    """A clean broker, on a server that may be stopped."""
    yield from _clean(request, f"own_{request.param}")


def _clean(request, fixture: str) -> Iterator[BrokerServer]:
    server = request.getfixturevalue(fixture)
    for marker in request.node.iter_markers("needs"):
        for difference in marker.args:
            if not server.differences[difference]:
                pytest.skip(f"not on this broker: {difference}")
    yield server
    server.close()


@pytest.fixture
def broker(server):
    """One broker object, with the queue "work" declared."""
    broker = server.open()
    broker.declare("work")
    return broker
