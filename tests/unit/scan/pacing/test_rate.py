"""Packets per second."""

import pytest

from labmon.scan.pacing.rate import SLACK, RateLimiter


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.mark.parametrize(("rate", "batch"), [(0, 64), (1, 1), (99, 1), (1000, 10), (10_000, 64)])
def test_batches_last_about_ten_milliseconds(rate, batch):
    assert RateLimiter(rate).batch == batch


def test_a_rate_is_held_over_time():
    clock = Clock()
    limiter = RateLimiter(1000, clock)
    sent = 0
    while clock.now < 110:
        limiter.spend(limiter.batch)
        sent += limiter.batch
        clock.now += limiter.pause()
    assert sent == pytest.approx(10_000, rel=0.01)


def test_no_rate_is_no_pause():
    limiter = RateLimiter(0, Clock())
    limiter.spend(1_000_000)
    assert limiter.pause() == 0


def test_a_long_stall_is_not_made_up_for_by_a_burst():
    clock = Clock()
    limiter = RateLimiter(1000, clock)
    clock.now += 60
    burst = 0
    while not limiter.pause():
        limiter.spend(1)
        burst += 1
    assert burst <= 1000 * SLACK + 1
