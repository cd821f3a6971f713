import os

import pytest

from labmon.consume.worker import Progress, State
from labmon.consume.worker_stats import ProcessInfo, WorkerStats
from labmon.messages import utcnow


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

    monkeypatch.setattr("labmon.consume.worker_stats.time.monotonic", lambda: Clock.now)
    return Clock


def member(stored, pid=7, number=1):
    return ProcessInfo(number, pid, 50 << 20, 0, [Progress("metrics_queue", State.busy, utcnow(), stored)])


def rate(register, *members):
    return [row.per_second for row in register.rows(members)]


def test_the_rate_is_that_of_the_last_seconds(clock):
    register = WorkerStats()
    assert rate(register, member(1000)) == [0.0]
    clock.now += 1
    assert rate(register, member(3000)) == [0.0]  # too short to say
    clock.now += 1
    assert rate(register, member(5000)) == [2000.0]
    clock.now += 4
    assert rate(register, member(5000)) == [0.0]


def test_a_process_that_took_another_s_place_begins_anew(clock):
    register = WorkerStats()
    rate(register, member(5000, pid=7))
    clock.now += 2
    assert rate(register, member(10, pid=8)) == [0.0]
    clock.now += 2
    assert rate(register, member(30, pid=8)) == [10.0]


def test_each_worker_is_a_row(clock):
    rows = WorkerStats().rows([member(1), member(2, pid=8, number=2)])
    assert [(row.number, row.pid, row.stored, row.main_pid) for row in rows] == [
        (1, 7, 1, os.getpid()),
        (2, 8, 2, os.getpid()),
    ]
