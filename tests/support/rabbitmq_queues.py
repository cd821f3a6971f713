"""What the tests of the RabbitMQ broker share."""

import time
from contextlib import contextmanager
from urllib.parse import quote

from tests.contract.test_broker import take

SEED = b'{"system_id": 42, "collected_at": "2025-11-25T10:35:00Z", "metrics": {"cpu_percent": 45.23}}'
METRICS = {"metrics_queue": "metrics.#"}


def eventually(ask, expected, patience=10.0):
    deadline = time.monotonic() + patience
    while (answer := ask()) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    assert answer == expected


def received(broker, number):
    with broker.consume("metrics_queue") as consumer:
        deliveries = take(consumer, number)
        consumer.ack(deliveries)
    return deliveries


@contextmanager
def account(server, vhost, **permissions):
    """A user who may do just that."""
    server.api("PUT", "users/limited", {"password": "hunter2", "tags": ""})
    rights = {"configure": "^$", "write": "^$", "read": "^$"} | permissions
    server.api("PUT", f"permissions/{quote(vhost)}/limited", rights)
    try:
        yield {"user": "limited", "password": "hunter2"}
    finally:
        server.api("DELETE", "users/limited")
