"""A clean virtual host for each test, and brokers on it."""

import pika
import pytest

from labmon.brokers.rabbitmq.broker import RabbitBroker
from labmon.brokers.rabbitmq.connection import RabbitEndpoint
from tests.support.rabbitmq_queues import METRICS


@pytest.fixture
def vhost(rabbitmq_server):
    with rabbitmq_server.vhost() as name:
        yield name


@pytest.fixture
def opened(rabbitmq_server, vhost, monkeypatch):
    """Opens brokers on a clean virtual host, and closes them."""
    monkeypatch.setattr("labmon.brokers.rabbitmq.publisher.NEW_QUEUE", 0.0)  # nobody kills this server
    brokers = []

    def open(*, bindings=METRICS, ttl=None, server=rabbitmq_server, **address):
        address = {"host": "127.0.0.1", "port": server.port, "vhost": vhost} | address
        brokers.append(RabbitBroker(RabbitEndpoint(**address), bindings=bindings, ttl=ttl))
        return brokers[-1]

    yield open
    for broker in brokers:
        broker.close()


@pytest.fixture
def broker(opened):
    broker = opened()
    broker.declare("metrics_queue")
    return broker


@pytest.fixture
def channel(rabbitmq_server, vhost):
    """Another program's channel."""
    parameters = pika.ConnectionParameters("127.0.0.1", rabbitmq_server.port, vhost)
    connection = pika.BlockingConnection(parameters)
    yield connection.channel()
    if connection.is_open:
        connection.close()
