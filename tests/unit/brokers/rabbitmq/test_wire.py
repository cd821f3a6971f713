from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from pika import BasicProperties

from labmon.brokers.rabbitmq.wire import IncomingMessage, matches


def received(body=b"{}", *, key="metrics.collected", exchange="labmon", redelivered=False, **properties):
    method = SimpleNamespace(routing_key=key, exchange=exchange, redelivered=redelivered)
    return IncomingMessage(method, BasicProperties(**properties), body)


@pytest.mark.parametrize(
    ("pattern", "key", "does"),
    [
        ("metrics.#", "metrics.collected", True),
        ("metrics.#", "metrics", True),
        ("metrics.#", "metrics.collected.gpu", True),
        ("metrics.#", "metrical.collected", False),
        ("metrics.#", "", False),
        ("metrics.*", "metrics.collected", True),
        ("metrics.*", "metrics", False),
        ("alerts.critical", "alerts.critical", True),
        ("alerts.critical", "alerts.info", False),
        ("#", "anything.at.all", True),
    ],
)
def test_a_topic_pattern_matches(pattern, key, does):
    assert matches(pattern, key) is does


def test_an_id_is_made_from_what_stays_the_same():
    first = received(b"a").message(high=False).id
    assert first == received(b"a", redelivered=True, headers={"x-delivery-count": 3}).message(high=False).id
    assert first != received(b"b").message(high=False).id
    assert first != received(b"a", key="metrics.other").message(high=False).id


def test_an_id_that_is_no_text_or_too_long_becomes_one_that_can_be_sent_on():
    assert received(message_id=b"\xff").message(high=False).id == "\N{REPLACEMENT CHARACTER}"
    assert len(received(message_id=b"\xff" * 200).message(high=False).id) == 32


@pytest.mark.parametrize(
    ("headers", "redelivered", "attempt", "counted"),
    [
        (None, False, 1, True),
        ({"x-delivery-count": 0}, False, 1, True),
        ({"x-delivery-count": 4}, True, 5, True),
        (None, True, 2, False),
        ({"x-labmon-attempt": 3}, False, 4, True),
        ({"x-labmon-attempt": 3}, True, 5, False),
        ({"x-labmon-attempt": 3, "x-delivery-count": 2}, True, 6, True),
        ({"x-labmon-attempt": "many", "x-delivery-count": True}, True, 2, True),
    ],
)
def test_attempts(headers, redelivered, attempt, counted):
    one = received(headers=headers, redelivered=redelivered)
    assert (one.attempt(), one.is_counted()) == (attempt, counted)


def test_a_dead_copy_and_back():
    one = received(
        headers={"traceparent": "00", "x-death": [], "BCC": ["elsewhere"]}, timestamp=1_700_000_000
    )
    letter = one.dead_copy(
        "work", high=True, attempt=3, reason="bad", error="\ud800" * 9000, now=1_700_000_100.5
    )
    assert (letter.exchange, letter.routing_key) == ("", "work.dead")
    dead = received(key="work.dead", exchange="", **properties_of(letter)).dead_letter("work")
    assert dead.message == one.message(high=True)
    assert (dead.reason, dead.attempt) == ("bad", 3)
    assert len(dead.error) > 4000 and set(dead.error) == set("\\ud80")
    assert dead.died_at == datetime.fromtimestamp(1_700_000_100.5, UTC)
    assert dead.enqueued_at == datetime.fromtimestamp(1_700_000_000, UTC)
    again = received(key="work.dead", exchange="", **properties_of(letter)).requeued(dead, "work", now=2e9)
    assert again.routing_key == "work.high"
    assert again.properties.headers == {
        "traceparent": "00",
        "timestamp_in_ms": 2_000_000_000_000,
        "x-labmon-routing-key": "metrics.collected",
    }


def test_headers_that_leave_no_room_are_left_behind():
    one = received(headers={"large": "x" * 120_000}, message_id="mine")
    letter = one.dead_copy("work", high=False, attempt=1, reason="bad", error="", now=1.0)
    assert "large" not in letter.properties.headers and letter.properties.message_id == "mine"
    assert letter.properties.headers["x-labmon-reason"] == "bad"


def test_headers_of_odd_types_do_no_harm():
    odd = {
        "x-death": [{"queue": 7, "reason": b"\xff", "time": "never", "routing-keys": [1]}],
        "x-labmon-lane": None,
        "x-labmon-routing-key": 5,
        "x-labmon-died-at": datetime(1970, 1, 1),
        "timestamp_in_ms": -1,
    }
    dead = received(headers=odd, timestamp=2**62).dead_letter("work")
    assert dead.reason == "\N{REPLACEMENT CHARACTER}" and not dead.message.high
    assert dead.message.routing_key == "metrics.collected"


def properties_of(letter):
    return {name: value for name, value in vars(letter.properties).items() if value is not None}
