"""Dead letters at RabbitMQ, where to look at messages is to take them."""

import threading
from types import SimpleNamespace

import pytest

from labmon.brokers.base import HELD_BYTES, Message
from labmon.brokers.rabbitmq import dead_letters, queue_length
from labmon.brokers.rabbitmq.wire import IncomingMessage
from tests.contract.test_broker import ids, messages, take
from tests.support.rabbitmq_queues import eventually, received


def test_looking_keeps_the_order(broker):
    broker.publish("metrics_queue", [Message(str(n), b"") for n in range(60)])
    with broker.consume("metrics_queue") as consumer:
        died = take(consumer, 60)
        for delivery in died:
            consumer.reject([delivery], "odd" if int(delivery.message.id) % 2 else "even")
    for limit, reason in ((4, None), (2, "odd"), (60, None), (7, "even"), (0, None), (3, None)):
        assert len(broker.dead_letters("metrics_queue", limit=limit, reason=reason)) == limit
    assert [one.message.id for one in broker.dead_letters("metrics_queue", limit=99)] == ids(died)
    assert broker.requeue_dead("metrics_queue", limit=10, reason="odd") == 10
    left = [one for one in ids(died) if one not in ids(died)[1:20:2]]
    assert [one.message.id for one in broker.dead_letters("metrics_queue", limit=99)] == left


@pytest.mark.parametrize("limit", [0, 1])
def test_a_look_that_ends_before_all_has_arrived_keeps_the_order(broker, limit):
    broker.publish("metrics_queue", [Message(str(n), b"") for n in range(60)])
    with broker.consume("metrics_queue") as consumer:
        died = take(consumer, 60)
        for delivery in died:
            consumer.reject([delivery], "bad")
    for _ in range(30):
        assert len(broker.dead_letters("metrics_queue", limit=limit)) == limit
    assert [one.message.id for one in broker.dead_letters("metrics_queue", limit=99)] == ids(died)


def test_more_dead_letters_than_one_channel_holds(broker, monkeypatch):
    monkeypatch.setattr(dead_letters, "FIRST", 3)
    monkeypatch.setattr(dead_letters, "LARGEST_PAGE", 7)
    broker.publish("metrics_queue", [Message(str(n), b"") for n in range(50)])
    with broker.consume("metrics_queue") as consumer:
        for delivery in take(consumer, 50):
            consumer.reject([delivery], "rare" if delivery.message.id in ("20", "49") else "common")
    assert [one.message.id for one in broker.dead_letters("metrics_queue", reason="rare")] == ["20", "49"]
    assert broker.requeue_dead("metrics_queue", reason="rare") == 2
    assert sorted(ids(received(broker, 2))) == ["20", "49"]
    assert broker.purge_dead("metrics_queue", reason="common") == 48
    assert broker.dead_letters("metrics_queue") == []


def test_what_was_requeued_and_fails_again_is_not_requeued_twice(opened, broker):
    broker.publish("metrics_queue", messages(300))
    with broker.consume("metrics_queue", prefetch=300) as consumer:
        consumer.reject(take(consumer, 300), "bad")
    stop = threading.Event()

    def reject():
        with opened().consume("metrics_queue") as consumer:
            while not stop.is_set():
                consumer.reject(consumer.receive(50, 0.1), "bad again")

    thread = threading.Thread(target=reject)
    thread.start()
    try:
        assert broker.requeue_dead("metrics_queue") == 300
        eventually(lambda: broker.depth("metrics_queue").dead, 300)
    finally:
        stop.set()
        thread.join()


# findings F4: `list` said "1 of 200000", `replay` "1 back"
@pytest.mark.parametrize("broken", ["", "count", "silence"])
def test_the_dead_letters_are_counted_right_by_a_server_that_is_too_busy_to_say(broker, monkeypatch, broken):
    broker.publish("metrics_queue", [Message(str(n), b"") for n in range(700)])
    with broker.consume("metrics_queue", prefetch=1000) as consumer:
        consumer.reject(take(consumer, 700), "bad")
    eventually(lambda: broker.depth("metrics_queue").dead, 700)
    if broken == "count":  # what a quorum queue answers when its leader does not within 250 ms
        answer = SimpleNamespace(message_count=0, consumer_count=0)
        for module in (queue_length, dead_letters):
            monkeypatch.setattr(module, "look", lambda session, name: answer)
        monkeypatch.setattr(dead_letters, "RETURNED", 0.0)
    if broken == "silence":
        monkeypatch.setattr(dead_letters, "QUIET", 0.0)
    eventually(lambda: broker.depth("metrics_queue").dead, 700)
    assert len(broker.dead_letters("metrics_queue", limit=1000)) == 700
    eventually(lambda: broker.depth("metrics_queue").dead, 700)
    assert broker.requeue_dead("metrics_queue") == 700
    eventually(lambda: broker.depth("metrics_queue").ready, 700)


# findings F4, B6: every one of 200,000 was loaded to show one
@pytest.mark.parametrize("call", [{"limit": 1}, {"limit": 20}, {"id": "7", "limit": 1}])
def test_a_screenful_costs_a_screenful(broker, monkeypatch, call):
    monkeypatch.setattr(dead_letters, "FIRST", 30)
    broker.publish("metrics_queue", [Message(str(n), b"x") for n in range(2000)])
    with broker.consume("metrics_queue", prefetch=2000) as consumer:
        for delivery in take(consumer, 2000):
            consumer.reject([delivery], "bad")
    eventually(lambda: broker.depth("metrics_queue").dead, 2000)
    arrived = []
    monkeypatch.setattr(IncomingMessage, "cost", property(lambda self: arrived.append(self) or 1))
    found = broker.dead_letters("metrics_queue", **call)
    assert [one.message.id for one in found] == (
        ["7"] if "id" in call else [str(n) for n in range(call["limit"])]
    )
    assert len({id(one) for one in arrived}) <= 40


def test_large_dead_letters_are_loaded_a_few_at_a_time(broker, monkeypatch):
    broker.publish("metrics_queue", [Message(str(n), bytes(2_000_000)) for n in range(30)])
    with broker.consume("metrics_queue") as consumer:
        for _ in range(30):
            consumer.reject(take(consumer, 1), "large")
    eventually(lambda: broker.depth("metrics_queue").dead, 30)
    waiting = []
    real = dead_letters.DeadLetters._put

    def put(self, page, received):
        real(self, page, received)
        waiting.append(self._waiting_bytes)

    monkeypatch.setattr(dead_letters.DeadLetters, "_put", put)
    assert [one.message.id for one in broker.dead_letters("metrics_queue", id="29")] == ["29"]
    assert max(waiting) <= HELD_BYTES + 2_100_000
    assert broker.requeue_dead("metrics_queue") == 30
    eventually(lambda: broker.depth("metrics_queue").ready, 30)


@pytest.mark.parametrize("holder", ["basic_get", "basic_consume"])
def test_what_another_program_holds_is_not_waited_for_without_end(broker, channel, monkeypatch, holder):
    monkeypatch.setattr(dead_letters, "QUIET", 0.2)
    broker.publish("metrics_queue", [Message(str(n), b"") for n in range(5)])
    with broker.consume("metrics_queue") as consumer:
        consumer.reject(take(consumer, 5), "bad")
    eventually(lambda: broker.depth("metrics_queue").dead, 5)
    if holder == "basic_get":
        channel.basic_get("metrics_queue.dead")
    else:
        channel.basic_qos(prefetch_count=2)
        channel.basic_consume("metrics_queue.dead", lambda *_: None)
    left = 4 if holder == "basic_get" else 3
    eventually(lambda: broker.depth("metrics_queue").dead, left)
    assert len(broker.dead_letters("metrics_queue")) == left
