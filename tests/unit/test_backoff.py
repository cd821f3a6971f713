import time
from threading import Event

import pytest

from labmon.backoff import Backoff, delay


def most(failures, **settings):
    return delay(failures, uniform=lambda low, high: high, **settings)


def least(failures, **settings):
    return delay(failures, uniform=lambda low, high: low, **settings)


def test_each_failure_doubles_the_wait_up_to_the_longest():
    assert [most(n) for n in range(1, 9)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert [most(n, first=60, longest=150) for n in (1, 2, 3)] == [60, 120, 150]


def test_a_first_wait_over_the_longest_is_cut():
    assert most(1, first=60, longest=10) == 10


@pytest.mark.parametrize("failures", [0, -3])
def test_no_failure_waits_like_the_first(failures):
    assert most(failures) == 0.5


def test_thousands_of_failures_do_not_overflow():
    assert most(100_000, longest=900) == 900


@pytest.mark.parametrize("jitter, low", [(0.0, 8), (0.5, 4), (1.0, 0)])
def test_jitter_is_the_part_of_the_wait_that_is_random(jitter, low):
    assert (least(5, jitter=jitter), most(5, jitter=jitter)) == (low, 8)


def test_after_a_success_it_begins_anew():
    backoff = Backoff(jitter=0)
    assert [backoff.failed() for _ in range(3)] == [0.5, 1, 2]
    backoff.reset()
    assert (backoff.failures, backoff.failed()) == (0, 0.5)


def test_a_stop_ends_the_wait():
    stop, backoff = Event(), Backoff(first=60, longest=60)
    stop.set()
    began = time.monotonic()
    backoff.wait(stop)
    assert (time.monotonic() - began < 30, backoff.failures) == (True, 1)
