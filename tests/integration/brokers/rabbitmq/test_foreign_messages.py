"""Messages of other programs: whatever they hold, labmon makes something of them, and they stop no others."""

import struct
from urllib.parse import quote

import pika
import pytest

from labmon.brokers.base import Message
from labmon.brokers.rabbitmq.wire import IncomingMessage
from tests.contract.test_broker import take
from tests.support.rabbitmq_queues import SEED, eventually, received


def test_a_message_without_headers_by_the_seeds_routing_key(broker, channel):
    channel.basic_publish("labmon", "metrics.collected", SEED)
    with broker.consume("metrics_queue") as consumer:
        (first,) = take(consumer, 1)
        consumer.release([first])
        (again,) = take(consumer, 1)
    assert first.message.body == SEED
    assert first.message.routing_key == "metrics.collected"
    assert not first.message.high
    assert first.enqueued_at is None and not first.expired
    assert again.message.id == first.message.id and len(first.message.id) == 32


def test_every_door_leads_to_its_lane(broker, channel):
    doors = {
        b"normal": ("labmon", "metrics.collected", False, "metrics.collected"),
        b"urgent": ("labmon.high", "metrics.collected", True, "metrics.collected"),
        b"deeper": ("labmon", "metrics.collected.gpu", False, "metrics.collected.gpu"),
        b"straight": ("", "metrics_queue", False, ""),
        b"straight and urgent": ("", "metrics_queue.high", True, ""),
    }
    for body, (exchange, key, _, _) in doors.items():
        channel.basic_publish(exchange, key, body)
    found = {one.message.body: one.message for one in received(broker, len(doors))}
    assert {body: (one.high, one.routing_key) for body, one in found.items()} == {
        body: (high, key) for body, (_, _, high, key) in doors.items()
    }


def test_a_message_through_the_management_api(broker, rabbitmq_server, vhost):
    rabbitmq_server.api(
        "POST",
        f"exchanges/{quote(vhost)}/labmon/publish",
        {
            "routing_key": "metrics.collected",
            "payload": SEED.decode(),
            "payload_encoding": "string",
            "properties": {
                "message_id": "mine",
                "headers": {"odd": 1.5, "many": [1, {"a": 2}]},
            },
        },
    )
    (delivery,) = received(broker, 1)
    assert delivery.message == Message("mine", SEED, "metrics.collected")


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({"timestamp": 1_700_000_000}, 1_700_000_000),
        ({"timestamp": 1_700_000_000_500}, 1_700_000_000.5),
        ({"headers": {"timestamp_in_ms": 1_700_000_000_250}, "timestamp": 1}, 1_700_000_000.25),
        ({"headers": {"timestamp_in_ms": "yesterday"}}, None),
        ({"timestamp": 2**63}, None),
    ],
)
def test_when_a_message_was_sent(opened, channel, properties, expected):
    broker = opened(ttl={"metrics_queue": 60.0})
    broker.declare("metrics_queue")
    channel.basic_publish("labmon", "metrics.collected", SEED, pika.BasicProperties(**properties))
    (delivery,) = received(broker, 1)
    assert (delivery.enqueued_at and delivery.enqueued_at.timestamp()) == expected
    assert delivery.expired is (expected is not None)


class _Unreadable(pika.BasicProperties):
    """A date in the year 50000 as a header, as from a program that took milliseconds for seconds."""

    def encode(self):
        table = b"\x01dT" + (1_700_000_000_000).to_bytes(8, "big")
        flags = self.FLAG_CONTENT_TYPE | self.FLAG_HEADERS | self.FLAG_MESSAGE_ID
        pieces = [b"\x04text", len(table).to_bytes(4, "big") + table, b"\x04mine"]
        return [flags.to_bytes(2, "big"), *pieces]


def test_headers_that_cannot_be_read_stop_nobody(broker, channel):
    channel.basic_publish("labmon", "metrics.collected", SEED, _Unreadable())
    channel.basic_publish("labmon", "metrics.collected", b"the next")
    first, other = received(broker, 2)
    assert (first.message.id, first.message.body) == ("mine", SEED)
    assert other.message.body == b"the next"


def test_what_another_program_sent_survives_the_dead_letters(broker, channel):
    properties = pika.BasicProperties(
        headers={"traceparent": "00-1", "CC": ["metrics_queue"], "x-death": "mine"},
        content_type="application/json",
        correlation_id="7",
        expiration="60000",
        user_id="guest",
    )
    channel.basic_publish("", "metrics_queue", SEED, properties)
    with broker.consume("metrics_queue") as consumer:
        consumer.reject(take(consumer, 1), "bad")
    eventually(lambda: broker.depth("metrics_queue").dead, 1)
    assert broker.requeue_dead("metrics_queue") == 1
    eventually(lambda: broker.depth("metrics_queue").ready, 1)
    _, properties, body = channel.basic_get("metrics_queue", auto_ack=True)
    assert body == SEED
    assert (properties.content_type, properties.correlation_id) == ("application/json", "7")
    assert properties.expiration is None and properties.user_id is None
    assert set(properties.headers) - {"x-delivery-count"} == {"traceparent", "timestamp_in_ms"}


def test_a_dead_letter_that_anybody_put_there(broker, channel):
    channel.basic_publish("", "metrics_queue.dead", SEED)
    eventually(lambda: broker.depth("metrics_queue").dead, 1)
    (dead,) = broker.dead_letters("metrics_queue")
    assert (dead.reason, dead.message.body, dead.attempt) == ("unknown", SEED, 0)
    assert broker.requeue_dead("metrics_queue") == 1
    (delivery,) = received(broker, 1)
    assert delivery.message.body == SEED


class Raw(pika.BasicProperties):
    """Properties as they stand on the wire: a table of headers, given as bytes."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def encode(self):
        flags = (self.FLAG_HEADERS | self.FLAG_DELIVERY_MODE).to_bytes(2, "big")
        return [flags, len(self.table).to_bytes(4, "big"), self.table, b"\x02"]


def entry(name, value):
    return bytes([len(name)]) + name.encode() + value


def nested_tables(depth):
    value = b"V"
    for _ in range(depth):
        inner = entry("a", value)
        value = b"F" + len(inner).to_bytes(4, "big") + inner
    return value


def nested_lists(depth):
    value = b"V"
    for _ in range(depth):
        value = b"A" + len(value).to_bytes(4, "big") + value
    return value


def number(value):
    return b"l" + value.to_bytes(8, "big", signed=True)


def text(value):
    return b"S" + len(value).to_bytes(4, "big") + value


HOSTILE = {
    "tables 600 deep": entry("a", nested_tables(600)),
    "tables 450 deep": entry("a", nested_tables(450)),
    "tables 60 deep": entry("a", nested_tables(60)),
    "lists 3000 deep": entry("a", nested_lists(3000)),
    "a reason that is nested": entry("x-labmon-reason", nested_tables(400)),
    "an attempt without end": entry("x-labmon-attempt", number(2**63 - 1)),
    "an attempt below none": entry("x-labmon-attempt", number(-(2**63))),
    "a count without end": entry("x-delivery-count", number(2**63 - 1)),
    "both counts at their limit": entry("x-labmon-attempt", number(2**31 - 1))
    + entry("x-delivery-count", number(2**31 - 1)),
    "a number with 300 digits": entry("a", b"d" + struct.pack(">d", 1e300)),
    "a fraction with 255 places": entry("a", b"D\xff\x7f\xff\xff\xff"),
    "a year 50000": entry("timestamp_in_ms", b"T" + (1_700_000_000_000).to_bytes(8, "big")),
    "a time without end": entry("timestamp_in_ms", number(2**63 - 1)),
    "100,000 bytes": entry("a", text(b"x" * 100_000)),
    "many names": b"".join(entry(f"{n:04}", b"V") for n in range(9000)),
    "a routing key of 60,000": entry("x-labmon-routing-key", text(b"k" * 60_000)),
    "a reason that is no text": entry("x-labmon-reason", text(b"\xff\xfe")),
    "forged deaths": entry("x-death", b"A" + (3).to_bytes(4, "big") + b"t\x01V")
    + entry("x-labmon-died-at", number(2**62)),
}


# findings A9, D1, D2: these ended the connection or the worker, and came again with the next one, for ever
@pytest.mark.parametrize("table", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_headers_cost_nobody_anything(broker, channel, table):
    channel.basic_publish("labmon", "metrics.collected", b"before")
    channel.basic_publish("labmon", "metrics.collected", b"hostile", Raw(table))
    channel.basic_publish("labmon", "metrics.collected", b"after")
    with broker.consume("metrics_queue") as consumer:
        found = {one.message.body: one for one in take(consumer, 3)}
        consumer.ack([found[b"before"], found[b"after"]])
        consumer.release([found[b"hostile"]], failed=True)
        (again,) = take(consumer, 1)
        assert again.message.body == b"hostile"
        consumer.reject([again], "undecodable", "no JSON")
    eventually(lambda: broker.depth("metrics_queue").dead, 1)
    (dead,) = broker.dead_letters("metrics_queue")
    assert (dead.message.body, dead.reason, dead.error) == (b"hostile", "undecodable", "no JSON")
    assert broker.requeue_dead("metrics_queue") == 1
    (delivery,) = received(broker, 1)
    assert delivery.message.body == b"hostile"
    eventually(lambda: broker.depth("metrics_queue").ready, 0)


# findings D2: the server itself moves these, unread
@pytest.mark.parametrize("table", HOSTILE.values(), ids=HOSTILE.keys())
def test_dead_letters_can_be_listed_and_replayed_whatever_their_headers(broker, channel, table):
    for body in (b"before", b"after"):
        channel.basic_publish("", "metrics_queue.dead", body, Raw(table))
    eventually(lambda: broker.depth("metrics_queue").dead, 2)
    assert [one.message.body for one in broker.dead_letters("metrics_queue")] == [b"before", b"after"]
    assert broker.requeue_dead("metrics_queue") == 2
    assert sorted(one.message.body for one in received(broker, 2)) == [b"after", b"before"]


# findings A9: of the next kind too, which nobody has thought of yet
@pytest.mark.parametrize("method", ["message", "attempt", "enqueued_at"])
def test_one_delivery_that_labmon_fails_to_make_sense_of_is_buried_alone(broker, monkeypatch, method):
    real = getattr(IncomingMessage, method)

    def fails(self, *arguments, **named):
        if self.body == b"odd":
            raise RuntimeError("unforeseen")
        return real(self, *arguments, **named)

    broker.publish("metrics_queue", [Message(str(n), b"odd" if n == 3 else b"") for n in range(6)])
    monkeypatch.setattr(IncomingMessage, method, fails)
    with broker.consume("metrics_queue") as consumer:
        deliveries = take(consumer, 5)
        assert sorted(one.message.id for one in deliveries) == ["0", "1", "2", "4", "5"]
        consumer.ack(deliveries)
    monkeypatch.undo()
    eventually(lambda: broker.depth("metrics_queue").dead, 1)
    (dead,) = broker.dead_letters("metrics_queue", reason="unreadable")
    assert dead.message.body == b"odd" and dead.error == "RuntimeError: unforeseen"
    assert broker.depth("metrics_queue").ready == 0
