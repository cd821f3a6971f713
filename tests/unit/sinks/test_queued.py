"""The publisher: what the broker confirmed, what is in the spool, what was said, and nothing in between."""

import logging
import sqlite3
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labmon.brokers.base import Message
from labmon.brokers.memory import MemoryBroker, MemoryServer
from labmon.config.load import load
from labmon.errors import BrokerRefused, Exit, StoreUnavailable
from labmon.messages import Alert, Discovery, Metrics, Readings, ScanFinished, SystemStatus, decode, encode
from labmon.sinks.base import queue_of
from labmon.sinks.buffered import BATCH, DRAIN_TIME, HOLD, LINGER
from labmon.sinks.queued import QueueSink
from labmon.sinks.spool.spool import Spool, SpoolError

NAMES = load(environ={}).config.queue
QUEUE = NAMES.metrics_queue
AT = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Broker(MemoryBroker):
    """Counts how often it is asked, and fails as told."""

    def __init__(self, server):
        super().__init__(server)
        self.asked = 0
        self.fault = None  #: raised after the messages were taken
        self.sent = []  #: every id that was confirmed, with repeats

    def declare(self, queue):
        self.asked += 1
        return super().declare(queue)

    def publish(self, queue, messages):
        self.asked += 1
        super().publish(queue, messages)
        if self.fault:
            raise self.fault
        self.sent += [one.id for one in messages]


@pytest.fixture
def server():
    return MemoryServer()


@pytest.fixture
def broker(server):
    return Broker(server)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "state" / "spool.db", max_bytes=2**26, max_age=86400)


@pytest.fixture
def said():
    return []


@pytest.fixture
def publisher(broker, spool, said, clock):
    return QueueSink(lambda: broker, NAMES, spool, said.append, clock=clock)


def reading(number):
    return Metrics(system_id=number + 1, collected_at=AT, metrics=Readings(cpu_percent=5.0))


def numbers_in(messages):
    return [decode(Metrics, one.body).system_id - 1 for one in messages]


def arrived(server, queue=QUEUE):
    """The numbers of the messages in the queue, in the order they came."""
    lane = server._queues[queue].lanes[False] if queue in server._queues else {}
    return numbers_in(one.message for one in lane.values())


def spooled(spool):
    batch = spool.oldest(100_000)
    return numbers_in(batch.messages[QUEUE]) if batch else []


def test_each_kind_goes_to_its_queue():
    kinds = {
        Discovery(scan_id=1, dept_id=1, ip_address="127.0.0.1", discovered_at=AT, scan_type="ping"): "d",
        ScanFinished(
            scan_id=1, dept_id=1, scan_type="ping", target_range="127.0.0.1", started_at=AT, finished_at=AT,
            systems_found=1, status="completed",
        ): "d",
        SystemStatus(system_id=1, status="offline", since=AT, checked_at=AT): "d",
        reading(1): "m",
        Alert(system_id=1, alert_type="cpu", severity="info", value=1, threshold=1, at=AT): "a",
    }  # fmt: skip
    names = {"DISCOVERY_QUEUE": "d", "METRICS_QUEUE": "m", "ALERT_QUEUE": "a"}
    names = load(environ=names).config.queue
    assert {queue_of(message, names) for message in kinds} == {"d", "m", "a"}
    for message, queue in kinds.items():
        assert queue_of(message, names) == queue


# All is well


def test_with_a_broker_the_spool_is_not_touched_and_nothing_is_said(publisher, server, spool, said):
    with publisher:
        for number in range(BATCH + 10):
            publisher.send(reading(number))
        assert arrived(server) == list(range(BATCH))  # full batches at once, the rest when told
        publisher.flush()
    assert arrived(server) == list(range(BATCH + 10))
    assert said == []
    assert not spool.path.parent.exists()


def test_a_batch_that_does_not_fill_goes_after_a_while(publisher, server, clock):
    publisher.send(reading(0))
    publisher.send(reading(1))
    assert arrived(server) == []
    clock.now += LINGER
    publisher.send(reading(2))
    assert arrived(server) == [0, 1, 2]
    publisher.send(reading(3))
    assert arrived(server) == [0, 1, 2]


def test_the_broker_is_not_opened_before_it_is_needed(spool, said):
    def never():
        raise AssertionError

    QueueSink(never, NAMES, spool, said.append).send(reading(0))


# The broker is away


def test_what_an_absent_broker_does_not_take_is_spooled_in_order_and_said_once(
    publisher, server, spool, said
):
    server.stop()
    with publisher:
        for number in range(3 * BATCH + 10):
            publisher.send(reading(number))
        publisher.flush()
        assert said == []
    assert spooled(spool) == list(range(3 * BATCH + 10))
    assert said == [
        "the queue in memory is stopped. Start it again. Messages waiting in the spool: 1,510; "
        "they go out first next time, or by: labmon spool flush"
    ]


def test_the_next_publisher_sends_the_spool_first_under_the_same_ids(
    publisher, server, spool, said, broker, clock
):
    server.stop()
    with publisher:
        for number in range(1200):
            publisher.send(reading(number))
        publisher.flush()
    ids = [one.id for one in spool.oldest(2000).messages[QUEUE]]
    server.start()
    said.clear()
    with QueueSink(lambda: broker, NAMES, spool, said.append, clock=clock) as second:
        assert arrived(server) == list(range(1200))
        second.send(reading(1200))
        second.flush()
    assert arrived(server) == list(range(1201))
    assert broker.sent[:1200] == ids
    assert spool.is_empty()
    assert said == []


def test_when_it_comes_back_in_between_the_order_is_kept_and_nothing_is_said(
    publisher, server, spool, said, clock
):
    with publisher:
        publisher.send(reading(0))
        publisher.flush()
        server.stop()
        publisher.send(reading(1))
        publisher.flush()
        server.start()
        publisher.send(reading(2))
        publisher.flush()  # in the pause, so behind the other
        assert (arrived(server), spooled(spool)) == ([0], [1, 2])
        clock.now += 60
        publisher.send(reading(3))
        publisher.flush()
    assert arrived(server) == [0, 1, 2, 3]
    assert said == []


def test_a_flush_with_nothing_new_sends_what_is_spooled(publisher, server, spool, clock):
    server.stop()
    publisher.send(reading(0))
    publisher.flush()
    server.start()
    publisher.flush()
    assert arrived(server) == []
    clock.now += 60
    publisher.flush()
    assert (arrived(server), spool.count()) == ([0], 0)


def test_an_absent_broker_is_asked_ever_more_rarely(publisher, server, broker, clock):
    server.stop()
    asked_at = []
    for second in range(600):
        before = broker.asked
        publisher.send(reading(second))
        publisher.flush()
        if broker.asked > before:
            asked_at.append(second)
        clock.now += 1
    gaps = [later - earlier for earlier, later in zip(asked_at, asked_at[1:], strict=False)]
    assert gaps[0] <= 2
    assert max(gaps) <= 31
    assert all(gap >= 15 for gap in gaps[8:])
    assert 600 / 31 <= len(asked_at) <= 60


def test_a_broker_that_takes_long_to_fail_is_not_what_the_time_is_spent_on(publisher, server, broker, clock):
    publish = broker.declare

    def slow(queue):
        clock.now += 4
        return publish(queue)

    broker.declare = slow
    server.stop()
    start = clock.now
    for number in range(600):
        publisher.send(reading(number))
        publisher.flush()
        clock.now += 1
    assert 4 * broker.asked < (clock.now - start) / 3


def test_a_refusal_is_spooled_too(publisher, broker, spool, said):
    broker.fault = BrokerRefused("queue in PostgreSQL: permission denied. Grant it")
    with publisher:
        publisher.send(reading(0))
        publisher.flush()
    assert spooled(spool) == [0]
    assert said[0].startswith(
        "queue in PostgreSQL: permission denied. Grant it. Messages waiting in the spool: 1;"
    )


def test_a_queue_inside_a_store_that_is_down_is_a_broker_that_is_away(spool, said, server, clock):
    def open_broker():
        if not server._running:
            raise StoreUnavailable("PostgreSQL at localhost: Connection refused. Is it running?")
        return MemoryBroker(server)

    server.stop()
    with QueueSink(open_broker, NAMES, spool, said.append, clock=clock) as publisher:
        publisher.send(reading(0))
        publisher.flush()
        server.start()
        clock.now += 60
        publisher.send(reading(1))
        publisher.flush()
    assert arrived(server) == [0, 1]
    assert said == []


def test_a_server_that_comes_back_without_its_queues_gets_them_again(publisher, server, clock):
    publisher.send(reading(0))
    publisher.flush()
    server._queues.clear()
    publisher.send(reading(1))
    publisher.flush()
    clock.now += 60
    publisher.flush()
    assert arrived(server) == [1]


def test_only_the_new_ones_are_told_apart_from_all_that_wait(publisher, server, spool, said):
    server.stop()
    spool.append(QUEUE, [Message.new(b"{}")] * 30)
    with publisher:
        publisher.send(reading(0))
        publisher.flush()
    assert "Messages waiting in the spool: 1 (31 in all); they" in said[0]


def test_a_run_that_had_nothing_to_send_still_says_that_the_spool_cannot_go(publisher, server, spool, said):
    server.stop()
    spool.append(QUEUE, [Message.new(b"{}")] * 30)
    with publisher:
        publisher.flush()
    assert "Messages waiting in the spool: 30;" in said[0]


def test_a_failure_half_way_through_the_spool_leaves_the_rest_in_order(publisher, server, broker, spool):
    for number in range(4):
        batch = [Message.new(b'{"system_id":%d}' % n) for n in range(number * BATCH, (number + 1) * BATCH)]
        spool.append(QUEUE, batch)
    publish = broker.publish

    def publish_twice(queue, messages):
        if len(broker.sent) >= 2 * BATCH:
            server.stop()
        publish(queue, messages)

    broker.publish = publish_twice
    with publisher:
        publisher.flush()
    left = spool.oldest(10_000).messages[QUEUE]
    assert [one.body for one in left] == [b'{"system_id":%d}' % n for n in range(2 * BATCH, 4 * BATCH)]


def test_dropped_messages_are_in_the_line(publisher, server, said, tmp_path, caplog):
    publisher._spool = Spool(tmp_path / "small.db", max_bytes=0, max_age=86400)
    server.stop()
    with publisher:
        for number in range(9000):
            publisher.send(reading(number))
        publisher.flush()
    assert "older ones were dropped; they go out first" in said[0]
    assert len([one for one in caplog.records if one.levelno >= logging.WARNING]) == 1


# Somebody interrupts, or something is broken


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), ZeroDivisionError("a bug")])
def test_an_interruption_leaves_everything_in_the_spool_and_asks_the_broker_no_more(
    publisher, broker, spool, said, fault
):
    with pytest.raises(type(fault)), publisher:
        for number in range(BATCH - 1):
            publisher.send(reading(number))
        broker.fault = fault
        try:
            publisher.send(reading(BATCH - 1))
        finally:
            asked = broker.asked
            publisher.send(reading(BATCH))
            publisher.flush()
            assert broker.asked == asked
    # The broker has them perhaps, and they go out again: the same ids, which do no harm.
    assert spooled(spool) == list(range(BATCH + 1))
    assert "Messages waiting in the spool: 501;" in said[0]


def test_what_neither_broker_nor_disk_takes_is_an_error_and_not_forgotten(
    publisher, server, spool, broker, caplog
):
    spool.path.parent.touch()  # a file where the folder should be
    server.stop()
    for number in range(2 * BATCH):
        publisher.send(reading(number))  # there is memory, and hope
    with pytest.raises(SpoolError) as caught:
        publisher.flush()
    assert caught.value.exit_code == Exit.BROKER
    assert "1,000 messages were neither sent nor kept: " in str(caught.value)
    assert "Not a directory" in str(caught.value) or "File exists" in str(caught.value)
    assert "the queue in memory is stopped" in str(caught.value)
    assert "trying again" in caplog.text
    server.start()
    publisher.flush()
    assert arrived(server) == list(range(2 * BATCH))


def test_memory_is_not_a_second_spool(publisher, server, spool):
    spool.path.parent.touch()
    server.stop()
    with pytest.raises(SpoolError):
        for number in range(HOLD + BATCH):
            publisher.send(reading(number))
    assert number < HOLD + BATCH


def test_a_disk_that_is_full_for_a_while_loses_nothing(publisher, server, spool, caplog):
    spool.path.parent.touch()
    server.stop()
    for number in range(BATCH + 10):
        publisher.send(reading(number))
    spool.path.parent.unlink()
    publisher.flush()
    assert spooled(spool) == list(range(BATCH + 10))


def test_a_broken_spool_does_not_keep_messages_from_the_broker(publisher, server, spool, said):
    spool.path.parent.mkdir()
    spool.path.mkdir()
    with publisher:
        publisher.send(reading(0))
        publisher.flush()
    assert arrived(server) == [0]
    assert len(said) == 1
    assert str(spool.path) in said[0]


def test_while_another_process_sends_the_spool_new_messages_go_straight_to_the_broker(
    publisher, server, spool, said
):
    spool.append(QUEUE, [Message.new(b"{}")])
    with spool.draining() as mine, publisher:
        assert mine
        publisher.send(reading(0))
        publisher.flush()
        assert spool.count() == 1
    assert arrived(server) == [0]
    assert said == []


def test_corrupt_messages_alone_do_not_stop_a_drain(publisher, server, spool):
    spool.append(QUEUE, [Message.new(b"{}")] * BATCH)
    with closing(sqlite3.connect(spool.path)) as db:
        db.execute("UPDATE message SET checksum = 0")
        db.commit()
    server.stop()
    publisher.send(reading(0))
    publisher.flush()
    server.start()
    assert list(publisher.drain()) == [1]
    assert arrived(server) == [0]
    assert spool.status().corrupt == BATCH


# A full spool (findings F7)


def slowly(publisher, clock, seconds):
    """Let every batch take so long."""
    publish = publisher._open_broker().publish

    def publish_slowly(queue, messages):
        clock.now += seconds
        publish(queue, messages)

    publisher._open_broker().publish = publish_slowly


def test_a_full_spool_holds_up_a_command_for_a_bounded_time_which_is_said(
    publisher, server, spool, said, clock
):
    spool.append(QUEUE, [Message.new(encode(reading(number))) for number in range(20 * BATCH)])
    slowly(publisher, clock, DRAIN_TIME / 4)
    began = clock.now
    with publisher:
        assert clock.now - began <= DRAIN_TIME
        publisher.send(reading(20 * BATCH))  # does not wait behind the spool
        publisher.flush()
        assert 20 * BATCH in arrived(server)
    assert clock.now - began <= 3 * DRAIN_TIME + 1  # entering, delivering, flushing
    assert 0 < spool.count() < 16 * BATCH
    assert said == [
        f"Messages waiting in the spool: {spool.count():,}; "
        "they go out first next time, or by: labmon spool flush"
    ]


def test_several_commands_empty_a_full_spool_between_them(broker, server, spool, said, clock):
    spool.append(QUEUE, [Message.new(encode(reading(number))) for number in range(20 * BATCH)])
    for _ in range(3):
        with QueueSink(lambda: broker, NAMES, spool, said.append, clock=clock) as publisher:
            slowly(publisher, clock, DRAIN_TIME / 4)
            publisher.flush()
    assert spool.is_empty()
    assert sorted(set(arrived(server))) == list(range(20 * BATCH))


def test_a_flush_by_hand_takes_the_time_it_needs(publisher, server, spool, clock):
    spool.append(QUEUE, [Message.new(encode(reading(number))) for number in range(20 * BATCH)])
    slowly(publisher, clock, 60)
    assert sum(publisher.drain()) == 20 * BATCH
    assert spool.is_empty()


# Queues that take nothing (findings A9)


def spool_for(spool, *queues):
    for queue in queues:
        spool.append(queue, [Message.new(encode(reading(0)), "metrics.collected") for _ in range(3)])


def test_a_misspelt_queue_holds_up_no_other_and_is_not_made(publisher, server, spool, said):
    spool_for(spool, "metrcs_queue", QUEUE, "metrcs_queue", NAMES.discovery_queue)
    with publisher:
        publisher.flush()
    assert len(arrived(server)) == len(arrived(server, NAMES.discovery_queue)) == 3
    assert {one.queue: one.messages for one in spool.status().queues} == {"metrcs_queue": 6}
    assert "metrcs_queue" not in server._queues
    (line,) = said
    assert line.startswith("Messages for metrcs_queue stay in the spool: ")
    assert line.endswith("See: labmon spool list")


def test_a_queue_with_another_name_gets_its_messages_when_it_exists(publisher, broker, server, spool, said):
    broker.declare("metrics_of_physics")
    spool_for(spool, "metrics_of_physics", QUEUE)
    with publisher:
        publisher.flush()
    assert (len(arrived(server, "metrics_of_physics")), spool.is_empty(), said) == (3, True, [])


def test_one_queue_without_permission_holds_up_no_other(publisher, broker, server, spool):
    publish = broker.publish

    def forbidden(queue, messages):
        if queue == NAMES.alert_queue:
            raise BrokerRefused("permission denied")
        publish(queue, messages)

    broker.publish = forbidden
    spool_for(spool, NAMES.alert_queue, QUEUE)
    assert sum(publisher.drain()) == 3
    assert publisher.refused == {NAMES.alert_queue: "permission denied"}
    assert {one.queue: one.messages for one in spool.status().queues} == {NAMES.alert_queue: 3}


def test_a_flush_by_hand_makes_no_queue_at_all(broker, server, spool, said):
    spool_for(spool, QUEUE)
    sink = QueueSink(lambda: broker, NAMES, spool, said.append, declares=False)
    assert sum(sink.drain()) == 0
    assert "setup-queues" in sink.refused[QUEUE]
    assert (server._queues, spool.count()) == ({}, 3)
    broker.declare(QUEUE)
    assert sum(sink.drain()) == 3


# Whose numbers they are (findings A3)


def test_a_queue_is_not_sent_what_is_about_another_database(broker, server, spool, said, clock):
    server.stop()
    with QueueSink(lambda: broker, NAMES, spool, said.append, database="one", clock=clock) as publisher:
        publisher.send(reading(1), database="one")
        publisher.flush()
    server.start()
    said.clear()
    with QueueSink(lambda: broker, NAMES, spool, said.append, database="two", clock=clock) as publisher:
        publisher.send(reading(2), database="two")
        publisher.flush()
    assert arrived(server) == [2]
    assert said == ["1 message in the spool is about another database. See: labmon spool list"]
    with QueueSink(lambda: broker, NAMES, spool, said.append, database="one", clock=clock):
        pass
    assert (arrived(server), spool.is_empty(), len(said)) == ([2, 1], True, 1)


def test_what_names_no_system_goes_whatever_the_database(broker, server, spool, said, clock):
    found = Discovery(scan_id=1, dept_id=1, ip_address="127.0.0.1", discovered_at=AT, scan_type="ping")
    server.stop()
    with QueueSink(lambda: broker, NAMES, spool, said.append, database="one", clock=clock) as publisher:
        publisher.send(found)
        publisher.flush()
    server.start()
    with QueueSink(lambda: broker, NAMES, spool, said.append, database="two", clock=clock):
        pass
    assert spool.is_empty()


# The model


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.sampled_from(["send", "send many", "flush", "stop", "start", "wait", "fault", "kill"]),
        max_size=40,
    )
)
def test_whatever_happens_nothing_that_was_flushed_is_lost(steps):
    """A killed publisher loses at most what came since its last batch; order holds but for repeats."""
    with tempfile.TemporaryDirectory() as folder:
        server, clock, said = MemoryServer(), Clock(), []
        broker = Broker(server)
        spool = Spool(Path(folder) / "spool.db", max_bytes=2**26, max_age=86400)
        number, safe, pending = 0, [], []

        def begin():
            return QueueSink(lambda: broker, NAMES, spool, said.append, clock=clock).__enter__()

        publisher = begin()
        for step in [*steps, "start", "wait", "flush"]:
            broker.fault = None
            if step in ("send", "send many"):
                for _ in range(7 if step == "send" else BATCH + 1):
                    publisher.send(reading(number))
                    pending.append(number)
                    number += 1
            elif step == "flush":
                publisher.flush()
                safe += pending
                pending = []
            elif step == "fault":  # the messages are taken, the answer is lost
                broker.fault = BrokerRefused("lost")
                publisher.send(reading(number))
                pending.append(number)
                number += 1
                publisher.flush()
            elif step == "kill":
                pending = []
                publisher = begin()
            elif step == "wait":
                clock.now += 60
            else:
                getattr(server, step)()
        came = arrived(server)
        assert set(safe) <= set(came)
        assert spool.is_empty()
        first = list(dict.fromkeys(came))
        assert first == sorted(first)
