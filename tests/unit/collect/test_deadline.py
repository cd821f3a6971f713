import logging
import threading
import time

import pytest

from labmon.collect.deadline import Deadline, Watchdog


@pytest.fixture
def watchdog():
    dog = Watchdog()
    yield dog
    dog.close()


def test_what_is_late_is_expired_once_and_on_time(watchdog):
    expired = []
    started = time.monotonic()
    with watchdog.watch(Deadline.after(0.1), lambda: expired.append(time.monotonic() - started)):
        time.sleep(0.3)
    assert len(expired) == 1
    assert 0.1 <= expired[0] < 0.25


def test_what_is_done_in_time_is_left_alone(watchdog):
    expired = threading.Event()
    with watchdog.watch(Deadline.after(0.05), expired.set):
        pass
    assert not expired.wait(0.2)


def test_a_short_deadline_is_not_kept_waiting_by_a_long_one(watchdog):
    short, long = threading.Event(), threading.Event()
    with watchdog.watch(Deadline.after(60), long.set), watchdog.watch(Deadline.after(0.05), short.set):
        assert short.wait(1)
    assert not long.is_set()


def test_closing_expires_everything_under_way_and_what_comes_later():
    dog = Watchdog()
    first, second = threading.Event(), threading.Event()
    with dog.watch(Deadline.after(60), first.set):
        dog.close()
        assert first.is_set()
    with dog.watch(Deadline.after(60), second.set):
        assert second.is_set()
    assert "labmon-watchdog" not in {thread.name for thread in threading.enumerate()}


def test_one_that_breaks_does_not_stop_the_others(watchdog, caplog):
    def breaks():
        raise OSError("broken")

    works = threading.Event()
    with caplog.at_level(logging.ERROR), watchdog.watch(Deadline.after(0.02), breaks):
        with watchdog.watch(Deadline.after(0.05), works.set):
            assert works.wait(1)
    assert "late" in caplog.text


def test_a_deadline_never_says_that_nothing_is_left():
    past = Deadline.after(-5)
    assert past.passed
    assert past.left > 0
    assert not Deadline.after(5).passed
