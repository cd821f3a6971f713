"""Accounts at RabbitMQ that may do just what they need."""

import pytest

from labmon.brokers.base import Message
from labmon.errors import BrokerRefused
from tests.contract.test_broker import messages
from tests.support.rabbitmq_queues import SEED, account, received


def test_an_account_that_may_only_publish_straight_to_the_queue(opened, broker, rabbitmq_server, vhost):
    with account(rabbitmq_server, vhost, write=r"^amq\.default$") as login:
        limited = opened(**login)
        assert not limited.declare("metrics_queue")
        limited.publish("metrics_queue", [Message.new(SEED, "metrics.collected")])
        limited.close()
    (delivery,) = received(broker, 1)
    assert delivery.message.routing_key == "metrics.collected"


def test_what_an_account_may_not_do_is_explained(opened, broker, rabbitmq_server, vhost):
    with account(rabbitmq_server, vhost) as login:
        limited = opened(**login)
        for call in (
            lambda: limited.publish("metrics_queue", messages(1)),
            lambda: limited.consume("metrics_queue"),
            lambda: limited.purge("metrics_queue"),
            lambda: limited.dead_letters("metrics_queue"),
            lambda: limited.declare("new"),
        ):
            with pytest.raises(
                BrokerRefused, match="(?s)^[^\n]*rabbitmqctl set_permissions[^\n]*$"
            ) as caught:
                call()
            assert "hunter2" not in str(caught.value)
        limited.close()
