"""Where a system stands in its lab, and how full the queues were."""

from datetime import UTC, datetime, timedelta
from threading import Event

import psycopg
import pytest

from labmon.config.tables import EventsConfig, RetentionConfig
from labmon.errors import UsageError
from labmon.store import housekeeping, queue_history
from labmon.store.inventory import labs
from labmon.store.queue_history import QueueSample

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def room(connection, fleet):
    lab = labs.make(connection, 1, "A-101")
    labs.place(connection, [1, 2], lab)
    connection.commit()
    return lab


def seats(connection):
    return connection.execute("SELECT system_id, seat_column, seat_row FROM systems ORDER BY 1").fetchall()


def test_a_seat_belongs_to_one_system_of_a_lab(connection, room):
    labs.seat(connection, 1, (3, 2))
    with pytest.raises(UsageError, match="seat 3,2 of lab A-101 is that of system 1"):
        labs.seat(connection, 2, (3, 2))
    with pytest.raises(UsageError, match="system 3 is in no lab"):
        labs.seat(connection, 3, (1, 1))
    labs.seat(connection, 1, (3, 2))
    labs.seat(connection, 2, (4, 2))
    assert seats(connection) == [(1, 3, 2), (2, 4, 2), (3, None, None)]
    labs.seat(connection, 1, None)
    labs.seat(connection, 3, None)
    assert seats(connection)[0] == (1, None, None)


@pytest.mark.parametrize("how", ["placed elsewhere", "taken out", "lab removed", "moved by a scan"])
def test_who_leaves_a_lab_leaves_the_seat(connection, room, how):
    labs.seat(connection, 1, (3, 2))
    match how:
        case "placed elsewhere":
            other = labs.make(connection, 1, "B-7")
            labs.place(connection, [2], other)
            labs.seat(connection, 2, (3, 2))
            labs.place(connection, [1], other)
        case "taken out":
            labs.take_out(connection, [1], room)
        case "lab removed":
            labs.remove(connection, room)
        case _:
            connection.execute("UPDATE systems SET lab_id = NULL WHERE system_id = 1")
    assert seats(connection)[0] == (1, None, None)


def test_a_seat_is_whole_and_from_one(connection, room):
    for values in ("1, NULL", "0, 1"):
        with pytest.raises(psycopg.errors.CheckViolation), connection.transaction():
            connection.execute(f"UPDATE systems SET (seat_column, seat_row) = ({values}) WHERE system_id = 1")


def test_whoever_measures_first_writes_the_slot(connection):
    def sample(ready):
        return [QueueSample("metrics_queue", ready, None, 0, 0, 1, 0.0)]

    assert queue_history.record(connection, sample(10), NOON + timedelta(seconds=1)) == 1
    assert queue_history.record(connection, sample(99), NOON + timedelta(seconds=29)) == 0
    assert queue_history.record(connection, sample(40), NOON + timedelta(seconds=30)) == 1
    step, found = queue_history.series(connection, NOON, NOON + timedelta(minutes=5))
    assert step == 30
    assert [(one.ready, one.in_per_second) for one in found["metrics_queue"]] == [(10, None), (40, 1.0)]
    assert queue_history.waiting(connection, NOON) == [(NOON, 40)]


def test_a_long_range_has_no_more_points_than_asked_for(connection):
    connection.execute(
        "INSERT INTO queue_history (queue, at, ready, dead, out_per_second) "
        "SELECT 'q', %s + n * interval '30 s', n %% 7, 0, 0 FROM generate_series(0, 19999) n",
        [NOON],
    )
    step, found = queue_history.series(connection, NOON, NOON + timedelta(days=7), points=1440)
    assert step == 900
    assert len(found["q"]) <= 1440
    assert max(one.ready_max for one in found["q"]) == 6


def test_history_is_kept_for_30_days(store, connection):
    now = datetime.now(UTC)
    for days in (29, 31):
        at = now - timedelta(days=days)
        queue_history.record(connection, [QueueSample("q", days, None, 0, 0, 1, 0.0)], at)
    connection.commit()
    housekeeping.tick(store, RetentionConfig(), EventsConfig(), now=now, stop=Event())
    assert connection.execute("SELECT ready FROM queue_history").fetchall() == [(29,)]


def test_rates_are_what_the_counters_grew_by(connection):
    def look(seconds, ready, stored):
        connection.execute("DELETE FROM workers")
        connection.execute(
            "INSERT INTO workers (host, main_pid, number, queue, state, state_since, stored, rejected, "
            "per_second, restarts) VALUES ('h', 1, 0, 'q', 'idle', now(), %s, 0, 59, 0)",
            [stored],
        )
        sample = [QueueSample("q", ready, None, 0, 0, 1, 0.0)]
        return flow.rates(connection, sample, NOON + timedelta(seconds=seconds))

    flow = queue_history.Flow()
    assert look(0, 5, 100) == {}
    assert look(2, 5, 100) == {}
    assert look(10, 5, 112)["q"] == queue_history.QueueRate(1.2, 1.2)
    assert look(20, 25, 112)["q"] == queue_history.QueueRate(1.6, 0.6)
    assert look(30, 25, 6)["q"].out_per_second == 0.2  # another process of the same place
