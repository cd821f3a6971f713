import os
import threading
import time

import pytest

from labmon.consume.worker import Progress, State
from labmon.consume.worker_threads import WorkerThreads
from labmon.errors import BrokerRefused
from labmon.messages import utcnow


class Worker:
    """Stands for a worker: runs until stopped, fails, or hangs."""

    def __init__(self, queue, run, stored=0):
        self.queue, self.run, self.stored = queue, run, stored

    @property
    def progress(self):
        return Progress(self.queue, State.busy, utcnow(), self.stored, 1)


def test_it_runs_until_every_worker_has_ended():
    ended = []
    workers = [Worker(name, lambda name=name: ended.append(name)) for name in "ab"]
    WorkerThreads(workers, threading.Event(), grace=5).run()
    assert sorted(ended) == ["a", "b"]


def test_a_worker_that_fails_for_good_stops_the_others_and_its_error_is_raised():
    stop, ended = threading.Event(), []

    def fail():
        raise BrokerRefused("wrong password")

    def work():
        ended.append(stop.wait(60))

    with pytest.raises(BrokerRefused, match="wrong password"):
        WorkerThreads([Worker("a", fail), Worker("b", work)], stop, grace=30).run()
    assert ended == [True]


def test_the_first_of_several_errors_is_raised():
    stop = threading.Event()

    def second():
        stop.wait(60)
        raise ValueError("because it was stopped")

    def first():
        raise BrokerRefused("the cause")

    with pytest.raises(BrokerRefused):
        WorkerThreads([Worker("a", second), Worker("b", first)], stop, grace=30).run()


def test_a_worker_that_hangs_is_left_behind_after_the_grace_time(caplog):
    stop, release, ticks = threading.Event(), threading.Event(), []
    stop.set()
    threads = WorkerThreads([Worker("slow", lambda: release.wait(120))], stop, grace=0.5)
    began = time.monotonic()
    threads.run(lambda: ticks.append(1))
    assert time.monotonic() - began >= 0.5
    assert "slow: not done within the grace time" in caplog.text
    assert ticks
    release.set()


def test_it_shows_its_process_and_counts():
    threads = WorkerThreads(
        [Worker("a", lambda: None, 5), Worker("b", lambda: None, 7)], threading.Event(), grace=1
    )
    (process,) = threads.processes()
    assert (process.pid, process.restarts, process.number) == (os.getpid(), 0, 1)
    assert process.rss > 2**20
    assert threads.tally() == {"a": (5, 1), "b": (7, 1)}
