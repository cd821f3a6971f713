"""The contract of `labmon.brokers.base`, over every broker. Where servers differ, `servers.py` says how."""

import os
import re
import subprocess
import threading
import time
from itertools import count

import pytest

from labmon.brokers.base import HELD_BYTES, Message
from labmon.errors import BrokerRefused, BrokerUnavailable
from tests.support.clock import clock

LEASE = 1.0  #: short enough to wait for, long enough not to end by accident


def messages(number, *, high=False):
    return [Message(f"{'high' if high else 'normal'}-{n}", b"%d" % n, high=high) for n in range(number)]


def ids(deliveries):
    return [one.message.id for one in deliveries]


def take(consumer, number, timeout=30.0):
    """Exactly so many deliveries, however they come."""
    taken, deadline = [], time.monotonic() + timeout
    while len(taken) < number and time.monotonic() < deadline:
        taken += consumer.receive(number - len(taken), 0.5)
    assert len(taken) == number
    return taken


def drain(consumer):
    """Receive and ack until nothing has come for half a second, or for two on a busy machine."""
    drained, quiet, last = [], clock(), time.monotonic()
    while clock() - quiet < 0.5 and time.monotonic() - last < 2.0:
        if deliveries := consumer.receive(100, 0.5):
            consumer.ack(deliveries)
            drained += deliveries
            quiet, last = clock(), time.monotonic()
    return drained


# publish and receive


def test_publish_then_receive(broker):
    broker.publish("work", messages(3))
    with broker.consume("work") as consumer:
        assert sorted(ids(take(consumer, 3))) == ["normal-0", "normal-1", "normal-2"]


def test_a_delivery_says_where_it_comes_from(broker):
    broker.publish("work", messages(1))
    with broker.consume("work") as consumer:
        (delivery,) = take(consumer, 1)
    assert delivery.attempt == 1
    assert not delivery.expired
    assert delivery.enqueued_at is None or abs(delivery.enqueued_at.timestamp() - time.time()) < 60


def test_binary_body_id_and_routing_key_survive(broker):
    sent = [
        Message("ünï-" + "x" * 190, bytes(range(256)) * 3, "alerts.critical", high=True),
        Message("b", b"", "metrics.collected"),
        Message("c", '{"name": "Zoë \\u0000"}'.encode()),
    ]
    broker.publish("work", sent)
    with broker.consume("work") as consumer:
        received = [one.message for one in take(consumer, 3)]
    assert sorted(received, key=lambda one: one.id) == sorted(sent, key=lambda one: one.id)


def test_large_bodies(broker):
    sent = {f"large-{n}": os.urandom(64 * 1024) for n in range(20)}
    broker.publish("work", [Message(id, body) for id, body in sent.items()])
    with broker.consume("work") as consumer:
        received = {one.message.id: one.message.body for one in take(consumer, 20)}
    assert received == sent


def test_publish_of_an_empty_batch(server, broker):
    broker.publish("work", [])
    server.eventually(lambda: broker.depth("work").ready, 0)


def test_two_queues_do_not_mix(server, broker):
    assert broker.declare("other")
    broker.publish("work", [Message("mine", b"")])
    broker.publish("other", [Message("theirs", b"")])
    with broker.consume("work") as consumer, broker.consume("other") as other:
        deliveries = take(consumer, 1)
        assert ids(deliveries) == ["mine"]
        assert ids(take(other, 1)) == ["theirs"]
        consumer.reject(deliveries, "bad")
    assert broker.dead_letters("other") == []
    assert broker.requeue_dead("other") == 0
    server.eventually(lambda: broker.depth("other").ready, 1)
    assert broker.purge("other") == 1
    assert len(broker.dead_letters("work")) == 1


def test_receive_returns_early_with_what_there_is(broker):
    broker.publish("work", messages(3))
    with broker.consume("work") as consumer:
        started = clock()
        received = consumer.receive(100, 20.0)
        assert received
        assert clock() - started < 5


def test_receive_times_out_with_nothing(broker):
    with broker.consume("work") as consumer:
        started = time.monotonic()
        assert consumer.receive(10, 0.3) == []
        assert 0.25 <= time.monotonic() - started < 5


def test_receive_without_waiting(broker):
    with broker.consume("work") as consumer:
        assert consumer.receive(10, 0) == []


def test_receive_wakes_when_a_message_arrives(server, broker):
    publisher = server.open()

    def publish():
        time.sleep(0.3)
        publisher.publish("work", messages(1))

    with broker.consume("work") as consumer:
        consumer.receive(1, 0.1)
        thread = threading.Thread(target=publish)
        thread.start()
        started = clock()
        assert ids(consumer.receive(1, 20.0)) == ["normal-0"]
        assert clock() - started < 3
        thread.join()


def test_a_message_id_published_again_is_not_lost(broker):
    broker.publish("work", messages(1))
    broker.publish("work", messages(1))
    with broker.consume("work") as consumer:
        assert set(ids(drain(consumer))) == {"normal-0"}


# lanes


def test_high_lane_first(broker):
    broker.publish("work", messages(10))
    broker.publish("work", messages(3, high=True))
    with broker.consume("work") as consumer:
        deliveries = take(consumer, 8)
    assert sum(one.message.high for one in deliveries) == 3
    assert all(one.message.high for one in deliveries[:3])


def test_normal_lane_is_not_starved(broker):
    broker.publish("work", messages(400, high=True))
    broker.publish("work", messages(100))
    normal = 0
    with broker.consume("work", prefetch=20) as consumer:
        for _ in range(20):
            deliveries = take(consumer, 10)
            normal += sum(not one.message.high for one in deliveries)
            consumer.ack(deliveries)
    assert 20 <= normal <= 80


def test_normal_lane_is_not_starved_by_small_batches(broker):
    broker.publish("work", messages(60, high=True))
    broker.publish("work", messages(60))
    lanes = []
    with broker.consume("work", prefetch=1) as consumer:
        for _ in range(40):
            deliveries = take(consumer, 1)
            lanes.append(deliveries[0].message.high)
            consumer.ack(deliveries)
    assert 4 <= lanes.count(False) <= 20


def test_a_lane_alone_fills_the_batch(broker):
    broker.publish("work", messages(10, high=True))
    with broker.consume("work") as consumer:
        assert len(take(consumer, 10)) == 10
    broker.purge("work")
    broker.publish("work", messages(10))
    with broker.consume("work") as consumer:
        assert len(take(consumer, 10)) == 10


# settling


def test_ack_of_a_batch(server, broker):
    broker.publish("work", messages(5))
    with broker.consume("work") as consumer:
        consumer.ack(take(consumer, 5))
        assert consumer.receive(5, 0.2) == []
    server.eventually(lambda: broker.depth("work").ready, 0)


def test_ack_of_part_of_a_batch_leaves_the_rest(broker):
    broker.publish("work", messages(5))
    with broker.consume("work") as consumer:
        deliveries = take(consumer, 5)
        consumer.ack([deliveries[3], deliveries[0]])
        assert consumer.receive(5, 0.2) == []
    rest = {deliveries[n].message.id for n in (1, 2, 4)}
    with broker.consume("work") as consumer:
        assert set(ids(drain(consumer))) == rest


def test_ack_twice_is_quiet(server, broker):
    broker.publish("work", messages(3))
    with broker.consume("work") as consumer:
        deliveries = take(consumer, 2)
        consumer.ack(deliveries)
        consumer.ack(deliveries)
        consumer.ack([])
        consumer.release(deliveries)
        consumer.reject(deliveries, "late")
        assert broker.dead_letters("work") == []
        assert len(take(consumer, 1)) == 1


def test_an_ack_after_a_release_has_no_effect(broker):
    broker.publish("work", messages(2))
    with broker.consume("work") as consumer:
        deliveries = take(consumer, 2)
        consumer.release(deliveries)
        consumer.ack(deliveries)
        consumer.reject(deliveries, "late")
    assert broker.dead_letters("work") == []
    with broker.consume("work") as consumer:
        assert len(take(consumer, 2)) == 2


def test_unsettled_comes_back_after_close(broker):
    broker.publish("work", messages(3))
    with broker.consume("work") as consumer:
        take(consumer, 3)
    with broker.consume("work") as consumer:
        assert len(take(consumer, 3)) == 3


def test_closing_the_broker_closes_its_consumers(server, broker):
    broker.publish("work", messages(2))
    take(broker.consume("work"), 2)
    broker.close()
    with server.open().consume("work") as consumer:
        assert len(take(consumer, 2)) == 2


@pytest.mark.needs("lease_is_timed")
def test_unsettled_comes_back_after_the_lease(server, broker):
    broker.publish("work", messages(2))
    slow = server.open(lease=LEASE).consume("work")
    take(slow, 2)
    with broker.consume("work") as consumer:
        assert consumer.receive(2, 0.1) == []
        deliveries = take(consumer, 2)
    assert [one.attempt for one in deliveries] == [2, 2]


@pytest.mark.needs("lease_is_timed")
def test_stale_settling_loses_nothing(server, broker):
    broker.publish("work", messages(3))
    slow = server.open(lease=LEASE).consume("work")
    stale = take(slow, 3)
    with broker.consume("work") as consumer:
        deliveries = take(consumer, 3)
        slow.ack(stale)
        slow.release(stale, failed=True)
        slow.reject(stale, "stale")
        assert broker.dead_letters("work") == []
        assert slow.receive(3, 0.3) == []
    with broker.consume("work") as consumer:
        assert len(take(consumer, 3)) == 3
    assert {one.attempt for one in deliveries} == {2}


@pytest.mark.needs("lease_is_timed")
def test_an_ack_after_the_lease_counts_if_nobody_else_took_it(server, broker):
    broker.publish("work", messages(1))
    slow = server.open(lease=0.2).consume("work")
    deliveries = take(slow, 1)
    time.sleep(0.4)
    slow.ack(deliveries)
    with broker.consume("work") as consumer:
        assert consumer.receive(1, 0.3) == []


def test_two_consumers_never_hold_the_same_delivery(server, broker):
    broker.publish("work", messages(40))
    with broker.consume("work", prefetch=20) as one, server.open().consume("work", prefetch=20) as other:
        held = take(one, 20) + take(other, 20)
    assert len(set(ids(held))) == 40


def test_prefetch_is_respected(broker):
    broker.publish("work", messages(10))
    with broker.consume("work", prefetch=4) as consumer:
        deliveries = take(consumer, 4)
        started = time.monotonic()
        assert consumer.receive(10, 0.3) == []
        assert time.monotonic() - started >= 0.25
        consumer.ack(deliveries[:1])
        assert len(take(consumer, 1)) == 1
        assert consumer.receive(10, 0.1) == []


# findings B6: 15 messages of 20 MB took 645 MB
@pytest.mark.parametrize("lanes", [1, 2])
def test_no_more_bytes_are_held_than_the_limit(broker, lanes):
    size, number = 4_000_000, 8
    for high in (False, True)[:lanes]:
        for n in range(number):
            broker.publish("work", [Message(f"{high}-{n}", bytes(size), high=high)])
    most = (HELD_BYTES + size) * lanes
    seen = set()
    with broker.consume("work", prefetch=100) as consumer:
        held = consumer.receive(100, 10.0)
        while len(seen) < number * lanes:
            while more := consumer.receive(100, 0.5):
                held += more
            assert 0 < sum(len(one.message.body) for one in held) <= most
            seen |= set(ids(held))
            consumer.ack(held[: len(held) // 2 + 1])
            held = held[len(held) // 2 + 1 :]
        consumer.ack(held)


def test_one_message_may_be_larger_than_the_limit(server, broker):
    for n in range(3):
        broker.publish("work", [Message(str(n), bytes(HELD_BYTES + 1000))])
    with broker.consume("work", prefetch=100) as consumer:
        for _ in range(3):
            (one,) = take(consumer, 1)
            assert consumer.receive(1, 0.5) == []
            consumer.ack([one])
        assert consumer.receive(1, 0.3) == []
    server.eventually(lambda: broker.depth("work").ready, 0)


def test_small_messages_after_large_ones_fill_the_batch_again(broker):
    broker.publish("work", [Message(f"large-{n}", bytes(HELD_BYTES // 2 + 1)) for n in range(3)])
    broker.publish("work", messages(400))
    small, deadline = [], time.monotonic() + 30
    with broker.consume("work", prefetch=400) as consumer:
        while len(small) < 400 and time.monotonic() < deadline:
            deliveries = consumer.receive(400 - len(small), 0.5)
            consumer.ack([one for one in deliveries if one.message.id.startswith("large")])
            small += [one for one in deliveries if one.message.id.startswith("normal")]
        assert len(small) == 400


def test_release_comes_back(server, broker):
    broker.publish("work", messages(2))
    with broker.consume("work") as consumer:
        consumer.release(take(consumer, 2))
        deliveries = take(consumer, 2)
    assert {one.attempt for one in deliveries} == {1 if server.differences["release_is_free"] else 2}


def test_attempt_counts_up(broker):
    broker.publish("work", messages(1))
    attempts = []
    with broker.consume("work") as consumer:
        for _ in range(4):
            deliveries = take(consumer, 1)
            attempts.append(deliveries[0].attempt)
            consumer.release(deliveries, failed=True)
    assert attempts == [1, 2, 3, 4]


def test_released_comes_to_another_consumer(server, broker):
    broker.publish("work", messages(2))
    with broker.consume("work") as one, server.open().consume("work") as other:
        deliveries = take(one, 2)
        assert other.receive(2, 0.2) == []
        one.release(deliveries)
        assert len(take(other, 1) + take(one, 1)) == 2


# dead letters


def test_reject_carries_the_reason(broker):
    sent = Message("poison", b"\x00\xff", "metrics.collected", high=True)
    broker.publish("work", [sent])
    with broker.consume("work") as consumer:
        consumer.release(take(consumer, 1), failed=True)
        consumer.reject(take(consumer, 1), "undecodable", "byte 0 \x00 and \ud800 are odd")
        assert consumer.receive(1, 0.2) == []
    (dead,) = broker.dead_letters("work")
    assert dead.message == sent
    assert dead.reason == "undecodable"
    assert dead.error.startswith("byte 0 ") and dead.error.endswith(" are odd")
    assert dead.attempt == 2
    assert abs(dead.died_at.timestamp() - time.time()) < 60
    assert dead.enqueued_at is None or dead.enqueued_at <= dead.died_at


def test_looking_at_dead_letters_leaves_them(server, broker):
    broker.publish("work", messages(5))
    with broker.consume("work") as consumer:
        for delivery in take(consumer, 5):
            consumer.reject([delivery], "odd" if int(delivery.message.body) % 2 else "even")
    assert len(broker.dead_letters("work", limit=2)) == 2
    assert len(broker.dead_letters("work", reason="odd")) == 2
    assert len(broker.dead_letters("work", reason="nothing like it")) == 0
    assert len(broker.dead_letters("work")) == 5
    server.eventually(lambda: broker.depth("work").dead, 5)


def test_requeue_restarts_attempts(server, broker):
    broker.publish("work", messages(3))
    with broker.consume("work") as consumer:
        consumer.release(take(consumer, 3), failed=True)
        consumer.reject(take(consumer, 3), "bad")
        assert broker.requeue_dead("work") == 3
        deliveries = take(consumer, 3)
        assert sorted(ids(deliveries)) == ["normal-0", "normal-1", "normal-2"]
        assert {one.attempt for one in deliveries} == {1}
    server.eventually(lambda: broker.depth("work").dead, 0)


def test_requeue_with_a_limit_takes_the_oldest(broker):
    broker.publish("work", messages(4))
    with broker.consume("work") as consumer:
        died = take(consumer, 4)
        for delivery in died:
            consumer.reject([delivery], "bad")
        assert broker.requeue_dead("work", limit=3) == 3
        assert sorted(ids(take(consumer, 3))) == sorted(ids(died[:3]))
        assert [one.message.id for one in broker.dead_letters("work")] == ids(died[3:])
        assert broker.requeue_dead("work", limit=0) == 0


def test_requeue_and_purge_by_reason(broker):
    broker.publish("work", messages(6))
    with broker.consume("work") as consumer:
        deliveries = take(consumer, 6)
        consumer.reject(deliveries[:2], "expired")
        consumer.reject(deliveries[2:5], "undecodable")
        consumer.reject(deliveries[5:], "failed 5 times")
        assert broker.requeue_dead("work", reason="undecodable", limit=2) == 2
        assert sorted(ids(take(consumer, 2))) == sorted(ids(deliveries[2:4]))
        assert broker.purge_dead("work", reason="expired") == 2
        assert len(broker.dead_letters("work")) == 2
        assert broker.purge_dead("work") == 2
        assert broker.dead_letters("work") == []


def test_the_dead_letters_of_these_messages_go_back_or_for_good(server, broker):
    died = messages(6)
    broker.publish("work", died)
    with broker.consume("work") as consumer:
        consumer.reject(take(consumer, 6), "odd")
        server.eventually(lambda: broker.depth("work").dead, 6)
        wanted = {died[1].id, died[4].id, "nobody's"}
        assert broker.requeue_dead("work", ids=wanted) == 2
        assert {one.message.id for one in take(consumer, 2)} == {died[1].id, died[4].id}
        assert broker.purge_dead("work", ids=[died[0].id]) == 1
        assert broker.purge_dead("work", ids=[]) == 0
        assert broker.requeue_dead("work", ids=[died[0].id[:5]]) == 0
        assert broker.purge_dead("work", ids=[died[2].id], reason="other") == 0
        left = [one.message.id for one in broker.dead_letters("work")]
        assert sorted(left) == [died[2].id, died[3].id, died[5].id]


def test_dead_letters_are_counted_and_found_by_id(server, broker):
    broker.publish("work", [Message(f"{kind}-{n}", b"") for kind in ("a", "b") for n in range(12)])
    with broker.consume("work") as consumer:
        for delivery in take(consumer, 24):
            consumer.reject([delivery], "odd" if delivery.message.id.endswith(("1", "3")) else "even")
    server.eventually(lambda: broker.depth("work").dead, 24)
    assert [broker.count_dead("work"), broker.count_dead("work", limit=7)] == [24, 7]
    assert [broker.count_dead("work", reason="odd"), broker.count_dead("work", reason="o", limit=5)] == [6, 5]
    assert [broker.count_dead("work", reason="none"), broker.count_dead("work", limit=99)] == [0, 24]

    def found(**wanted):
        return [one.message.id for one in broker.dead_letters("work", **wanted)]

    assert found(id="b-1", limit=1) == ["b-1"]
    assert sorted(found(id="b-1")) == ["b-1", "b-10", "b-11"]
    assert sorted(found(id="b-1", reason="odd")) == ["b-1", "b-11"]
    assert found(id="c") == []
    assert broker.depth("work").dead == 24


@pytest.mark.needs("can_be_cut")
def test_reject_survives_a_cut_between_copy_and_removal(server, broker):
    broker.publish("work", messages(3))
    cut = server.open(lease=LEASE).consume("work")
    server.cut_reject(cut, take(cut, 3))
    cut.close()
    with broker.consume("work") as consumer:
        deadline, seen = time.monotonic() + server.patience, set()
        while len(seen) < 3 and time.monotonic() < deadline:
            seen |= set(ids(consumer.receive(10, 0.2)))
            seen |= {one.message.id for one in broker.dead_letters("work")}
    assert len(seen) == 3


# time to live


def test_expired_is_flagged(server, broker):
    patient = server.open(ttl={"other": 0.1})
    hasty = server.open(ttl={"work": 0.2})
    broker.publish("work", messages(1))
    time.sleep(0.5)
    with hasty.consume("work") as consumer:
        (delivery,) = take(consumer, 1)
        assert delivery.expired
        consumer.release([delivery])
    with patient.consume("work") as consumer:
        (delivery,) = take(consumer, 1)
        assert not delivery.expired


def test_a_requeued_message_has_its_time_again(server, broker):
    hasty = server.open(ttl={"work": 1.0})
    broker.publish("work", messages(1))
    time.sleep(1.2)
    with hasty.consume("work") as consumer:
        (delivery,) = take(consumer, 1)
        assert delivery.expired
        consumer.reject([delivery], "expired")
        hasty.requeue_dead("work")
        (delivery,) = take(consumer, 1)
        assert not delivery.expired


# declare, depth, purge


def test_what_is_declared_is_known(broker):
    assert not broker.is_declared("new")
    broker.declare("new")
    assert broker.is_declared("new")


def test_declare_twice(broker):
    assert broker.declare("new")
    assert not broker.declare("new")
    broker.publish("new", messages(1))
    assert not broker.declare("new")
    with broker.consume("new") as consumer:
        assert len(take(consumer, 1)) == 1


def test_declare_by_many_at_once(server):
    brokers = [server.open() for _ in range(8)]
    made, barrier = [], threading.Barrier(len(brokers))

    def declare(broker):
        barrier.wait()
        made.append(broker.declare("work"))

    run_all([lambda broker=broker: declare(broker) for broker in brokers])
    assert len(made) == 8 and any(made)
    brokers[0].publish("work", messages(1))


def test_a_queue_nobody_declared_is_refused(broker):
    for call in (
        lambda: broker.publish("nowhere", messages(1)),
        lambda: broker.consume("nowhere"),
        lambda: broker.depth("nowhere"),
        lambda: broker.dead_letters("nowhere"),
        lambda: broker.requeue_dead("nowhere"),
        lambda: broker.purge("nowhere"),
        lambda: broker.purge_dead("nowhere"),
    ):
        with pytest.raises(BrokerRefused, match="nowhere.*labmon setup-queues"):
            call()
    broker.publish("work", messages(1))


def test_the_very_first_use_of_a_clean_server_is_refused(server):
    with pytest.raises(BrokerRefused, match="labmon setup-queues"):
        server.open().publish("work", messages(1))


@pytest.mark.needs("fetches_on_demand")
def test_depth_after_each_step(server, broker):
    def depth():
        now = broker.depth("work")
        return now.ready, now.ready_high, now.in_flight, now.dead

    def expected(ready, ready_high, in_flight, dead):
        lanes = server.known("counts_lanes", ready_high)
        return ready, lanes, server.known("counts_in_flight", in_flight), dead

    server.eventually(depth, expected(0, 0, 0, 0))
    broker.publish("work", messages(6) + messages(2, high=True))
    server.eventually(depth, expected(8, 2, 0, 0))
    with broker.consume("work", prefetch=5) as consumer:
        deliveries = take(consumer, 5)
        server.eventually(depth, expected(3, 0, 5, 0))
        consumer.ack(deliveries[:1])
        server.eventually(depth, expected(3, 0, 4, 0))
        consumer.reject(deliveries[1:3], "bad")
        server.eventually(depth, expected(3, 0, 2, 2))
    server.eventually(depth, expected(5, 0, 0, 2))
    broker.requeue_dead("work", limit=1)
    server.eventually(lambda: (depth()[0], depth()[3]), (6, 1))


def test_depth_between_consumers(server, broker):
    def depth():
        now = broker.depth("work")
        return now.ready, now.ready_high, now.in_flight, now.dead

    def expected(ready, ready_high, dead):
        lanes = server.known("counts_lanes", ready_high)
        return ready, lanes, server.known("counts_in_flight", 0), dead

    server.eventually(depth, expected(0, 0, 0))
    broker.publish("work", messages(6) + messages(2, high=True))
    server.eventually(depth, expected(8, 2, 0))
    with broker.consume("work") as consumer:
        deliveries = take(consumer, 8)
        consumer.ack(deliveries[:1])
        consumer.reject(deliveries[1:3], "bad")
    server.eventually(depth, expected(5, 0, 2))
    broker.requeue_dead("work", limit=1)
    server.eventually(lambda: (depth()[0], depth()[3]), (6, 1))


@pytest.mark.needs("counts_consumers")
def test_depth_counts_consumers(server, broker):
    def consumers():
        return broker.depth("work").consumers

    broker.declare("other")
    with broker.consume("work"), server.open().consume("work"), broker.consume("other"):
        server.eventually(consumers, 2)
    server.eventually(consumers, 0)


@pytest.mark.needs("knows_oldest_age")
def test_oldest_age(broker):
    assert broker.depth("work").oldest_age_seconds == 0
    broker.publish("work", messages(1))
    time.sleep(0.3)
    broker.publish("work", messages(1, high=True))
    oldest = broker.depth("work").oldest_age_seconds
    assert 0.3 <= oldest < 30
    time.sleep(0.1)
    assert broker.depth("work").oldest_age_seconds >= oldest + 0.1
    with broker.consume("work") as consumer:
        take(consumer, 2)
        assert broker.depth("work").oldest_age_seconds == 0


@pytest.mark.needs("fetches_on_demand")
def test_purge_leaves_the_dead_and_the_held(server, broker):
    broker.publish("work", messages(5) + messages(3, high=True))
    with broker.consume("work", prefetch=4) as consumer:
        deliveries = take(consumer, 4)
        consumer.reject(deliveries[:1], "bad")
        server.eventually(lambda: broker.depth("work").ready, 4)
        assert broker.purge("work") == 4
        server.eventually(lambda: broker.depth("work").ready, 0)
        assert len(broker.dead_letters("work")) == 1
    with broker.consume("work") as consumer:
        assert sorted(ids(drain(consumer))) == sorted(ids(deliveries[1:]))
    assert broker.purge("work") == 0


def test_purge_leaves_the_dead(server, broker):
    broker.publish("work", messages(5) + messages(3, high=True))
    with broker.consume("work") as consumer:
        consumer.reject(take(consumer, 8)[:1], "bad")
    server.eventually(lambda: broker.depth("work").ready, 7)
    assert broker.purge("work") == 7
    server.eventually(lambda: (broker.depth("work").ready, broker.depth("work").dead), (0, 1))
    assert broker.purge("work") == 0


# many at once


def run_all(functions):
    """Each in a thread of its own; an error in any of them is the test's."""
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(function,), daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not errors, errors


def test_publish_from_several_threads_each_with_its_own_broker(server, broker):
    def publish(name):
        mine = server.open()
        for batch in range(10):
            mine.publish("work", [Message(f"{name}-{batch}-{n}", b"") for n in range(20)])

    run_all([lambda name=name: publish(name) for name in range(4)])
    server.eventually(lambda: broker.depth("work").ready, 800)
    with broker.consume("work") as consumer:
        assert len(set(ids(drain(consumer)))) == 800


def test_one_broker_passed_from_thread_to_thread(broker):
    consumer = broker.consume("work")
    run_all([lambda: broker.publish("work", messages(2))])
    deliveries = []
    run_all([lambda: deliveries.extend(take(consumer, 2))])
    run_all([lambda: consumer.ack(deliveries)])
    run_all([consumer.close])


def test_publishers_and_consumers_at_the_same_time(server, broker):
    total, seen, lock = 2000, [], threading.Lock()

    def publish(name):
        mine = server.open()
        for batch in range(10):
            mine.publish("work", [Message(f"{name}-{batch}-{n}", b"", high=n % 7 == 0) for n in range(100)])

    def consume():
        deadline = time.monotonic() + 30
        with server.open().consume("work", prefetch=60) as consumer:
            for turn in count():
                if len(seen) >= total or time.monotonic() > deadline:
                    break
                deliveries = consumer.receive(30, 0.2)
                back = turn % 2
                consumer.release(deliveries[:back])
                consumer.ack(deliveries[back:])
                with lock:
                    seen.extend(ids(deliveries[back:]))

    run_all([lambda name=name: publish(name) for name in range(2)] + [consume] * 4)
    with broker.consume("work") as consumer:
        seen.extend(ids(drain(consumer)))
    assert len(set(seen)) == total
    assert len(seen) == total
    server.eventually(lambda: broker.depth("work").ready, 0)
    server.eventually(lambda: broker.depth("work").in_flight, server.known("counts_in_flight", 0))


# when things break


@pytest.mark.needs("outlives_processes")
def test_a_consumer_killed_with_sigkill_loses_nothing(server, broker):
    broker.publish("work", messages(5))
    with subprocess.Popen(server.holder("work", LEASE), stdout=subprocess.PIPE) as process:
        try:
            assert int(process.stdout.readline()) == 5
            server.eventually(lambda: broker.depth("work").ready, 0)
        finally:
            process.kill()
    with broker.consume("work") as consumer:
        deliveries = take(consumer, 5)
    assert sorted(ids(deliveries)) == [f"normal-{n}" for n in range(5)]
    assert {one.attempt for one in deliveries} == {2}
    server.eventually(lambda: broker.depth("work").consumers, server.known("counts_consumers", 0))


def test_a_stopped_server_is_unavailable_and_comes_back(own_server):
    broker = own_server.open()
    broker.declare("work")
    broker.publish("work", messages(3))
    consumer, idle = broker.consume("work"), broker.consume("work")
    held = take(consumer, 1)
    own_server.stop()
    for call in (
        lambda: consumer.ack(held),
        lambda: consumer.receive(1, 0.1),
        lambda: consumer.release(held),
        lambda: consumer.reject(held, "bad"),
        lambda: idle.receive(1, 0.1),
        lambda: broker.publish("work", messages(1)),
        lambda: broker.depth("work"),
        lambda: broker.declare("work"),
        lambda: broker.consume("work"),
        lambda: own_server.open().publish("work", messages(1)),
    ):
        with pytest.raises(BrokerUnavailable):
            call()
    own_server.start()
    with pytest.raises(BrokerUnavailable):
        consumer.receive(1, 0.1)
    consumer.close()
    idle.close()

    again = own_server.open()
    with again.consume("work") as consumer:
        assert len(take(consumer, 2)) == 2
    broker.publish("work", messages(1))
    with broker.consume("work") as consumer:
        assert len(take(consumer, 3)) == 3


def test_a_restart_between_two_publishes_loses_nothing(own_server):
    broker = own_server.open()
    broker.declare("work")
    broker.publish("work", messages(3))
    own_server.stop()
    own_server.start()
    for _ in range(20):
        try:
            broker.publish("work", [Message("after", b"")])
            break
        except BrokerUnavailable:
            time.sleep(0.1)
    with own_server.open().consume("work") as consumer:
        assert set(ids(drain(consumer))) == {"normal-0", "normal-1", "normal-2", "after"}


@pytest.mark.needs("has_passwords")
def test_a_wrong_password_is_refused(server):
    with pytest.raises(BrokerRefused) as caught:
        server.open_with_wrong_password().declare("work")
    text = str(caught.value)
    assert "password" in text and "wrong" not in text and "\n" not in text


def test_a_closed_consumer_is_unavailable(broker):
    broker.publish("work", messages(1))
    consumer = broker.consume("work")
    deliveries = take(consumer, 1)
    consumer.close()
    for call in (lambda: consumer.receive(1, 0.1), lambda: consumer.ack(deliveries)):
        with pytest.raises(BrokerUnavailable):
            call()


def test_close_twice(server, broker):
    consumer = broker.consume("work")
    consumer.close()
    consumer.close()
    broker.close()
    broker.close()
    consumer.close()
    unused = server.open()
    unused.close()


def test_close_after_the_server_has_gone(own_server):
    broker = own_server.open()
    broker.declare("work")
    broker.publish("work", messages(1))
    consumer = broker.consume("work")
    take(consumer, 1)
    own_server.stop()
    consumer.close()
    broker.close()


def test_the_server_says_its_version(server, broker):
    product = {"PostgresBrokers": "PostgreSQL", "RedisBrokers": "Redis", "RabbitBrokers": "RabbitMQ"}
    known = product.get(type(server).__name__)
    said = broker.server_version()
    assert re.fullmatch(rf"{known} \d[\d.]+", said) if known else said == ""
