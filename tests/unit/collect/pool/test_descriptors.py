import resource

import pytest

from labmon.collect.pool import descriptors
from labmon.collect.pool.descriptors import RESERVED, room_for


class Limits:
    """What the kernel would do, without doing it to the tests."""

    def __init__(self, soft, hard):
        self.now = (soft, hard)

    def getrlimit(self, _):
        return self.now

    def setrlimit(self, _, limits):
        if limits[0] > limits[1] != resource.RLIM_INFINITY:
            raise ValueError("current limit exceeds maximum limit")
        self.now = limits


@pytest.fixture
def limits(monkeypatch):
    def set_to(soft, hard):
        made = Limits(soft, hard)
        monkeypatch.setattr(descriptors.resource, "getrlimit", made.getrlimit)
        monkeypatch.setattr(descriptors.resource, "setrlimit", made.setrlimit)
        return made

    return set_to


def test_the_soft_limit_is_raised_as_far_as_needed(limits, caplog):
    for hard in (20_000, resource.RLIM_INFINITY):
        made = limits(1024, hard)
        assert room_for(5000) == 5000
        assert made.now == (5000 + RESERVED, hard)
    assert caplog.text == ""


def test_a_limit_that_is_high_enough_is_left_alone(limits):
    made = limits(20_000, 20_000)
    assert room_for(5000) == 5000
    assert made.now == (20_000, 20_000)


def test_a_hard_limit_that_is_too_low_is_said_in_one_line_with_the_next_step(limits, caplog):
    made = limits(1024, 4096)
    assert room_for(5000) == 4096 - RESERVED
    assert made.now == (4096, 4096)
    assert len(caplog.records) == 1
    assert "ulimit -n" in caplog.text and "4096" in caplog.text


def test_nothing_is_said_where_there_is_room_for_as_many_as_are_wanted_at_once(limits, caplog):
    limits(1024, 1024)
    assert room_for(5000, least=64) == 1024 - RESERVED
    assert caplog.text == ""
