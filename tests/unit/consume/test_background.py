import threading
import time

from labmon.consume import background
from labmon.consume.background import BackgroundTasks, Task
from labmon.errors import StoreUnavailable


def eventually(true, seconds=30):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_each_task_is_repeated_at_its_interval_and_ends_with_its_last_step():
    runs, ends = [], []
    task = Task("a", 0.01, lambda stop: runs.append(stop.is_set()), lambda: ends.append(len(runs)))
    with BackgroundTasks([task]):
        eventually(lambda: len(runs) >= 3)
        assert ends == []
    assert ends == [len(runs)]
    assert not any(runs)


def test_a_task_that_fails_is_run_again_and_logged(caplog):
    caplog.set_level("INFO")
    runs = []

    def fail(stop):
        runs.append(1)
        raise StoreUnavailable("PostgreSQL at db: away")

    with BackgroundTasks([Task("alerts", 0.01, fail)]):
        eventually(lambda: len(runs) >= 3)
    assert "alerts: PostgreSQL at db: away" in caplog.text
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_none_keeps_another_waiting_nor_the_end(monkeypatch):
    monkeypatch.setattr(background, "END_TIMEOUT", 0.2)
    release, runs = threading.Event(), []
    tasks = [
        Task("hangs", 60, lambda stop: release.wait(60)),
        Task("works", 0.01, lambda stop: runs.append(1)),
    ]
    with BackgroundTasks(tasks):
        eventually(lambda: len(runs) >= 3)
        began = time.monotonic()
    assert time.monotonic() - began < 30
    release.set()


def test_a_task_that_runs_until_stopped_is_told_to_stop():
    ended = []
    with BackgroundTasks([Task("relay", 60, lambda stop: ended.append(stop.wait(60)))]):
        assert ended == []
    assert ended == [True]
