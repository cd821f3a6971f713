import pytest

from labmon.brokers.base import Depth
from labmon.config.load import load
from labmon.consume.supervisor.autoscale import Autoscale


def depth(ready):
    return Depth(ready, 0, 0, 0, 1, 0.0)


@pytest.fixture
def scaling():
    config = load(environ={"LABMON_CONSUME_SCALE_UP_AFTER": "10s"}).config
    return Autoscale(config.consume, config.queue.depth_warning)


def test_a_queue_gets_another_worker_only_after_it_has_been_deep_for_long_enough(scaling):
    assert scaling.wanted({"metrics": depth(1001)}, 5, 100) == []
    assert scaling.wanted({"metrics": depth(5000)}, 5, 109.9) == []
    assert scaling.wanted({"metrics": depth(1001)}, 5, 110) == ["metrics"]


def test_a_queue_that_was_shallow_meanwhile_begins_anew(scaling):
    scaling.wanted({"metrics": depth(1001)}, 5, 100)
    scaling.wanted({"metrics": depth(1000)}, 5, 105)
    assert scaling.wanted({"metrics": depth(1001)}, 5, 111) == []
    assert scaling.wanted({"metrics": depth(1001)}, 5, 121) == ["metrics"]


def test_the_next_one_takes_as_long_again(scaling):
    scaling.wanted({"metrics": depth(9000)}, 5, 100)
    assert scaling.wanted({"metrics": depth(9000)}, 5, 110) == ["metrics"]
    assert scaling.wanted({"metrics": depth(9000)}, 5, 119) == []
    assert scaling.wanted({"metrics": depth(9000)}, 5, 120) == ["metrics"]


def test_the_deepest_queue_gets_the_last_place_and_nobody_a_place_too_many(scaling):
    depths = {"discovery": depth(2000), "metrics": depth(3000)}
    scaling.wanted(depths, 1, 100)
    assert scaling.wanted(depths, 1, 110) == ["metrics"]
    assert scaling.wanted(depths, 0, 120) == []


def test_an_extra_worker_goes_one_at_a_time_after_the_cool_down(scaling):
    assert scaling.spare({"metrics": depth(0)}, {"metrics": 2}, 100) == []
    assert scaling.spare({"metrics": depth(500)}, {"metrics": 2}, 399) == []
    assert scaling.spare({"metrics": depth(500)}, {"metrics": 2}, 400) == ["metrics"]
    assert scaling.spare({"metrics": depth(0)}, {"metrics": 1}, 500) == []


def test_a_queue_that_is_half_full_keeps_its_workers_and_one_without_extra_has_none_to_lose(scaling):
    for now in (100, 500, 900):
        assert scaling.spare({"metrics": depth(501), "alert": depth(0)}, {"metrics": 1}, now) == []


def test_while_the_broker_is_away_nothing_is_decided(scaling):
    scaling.wanted({"metrics": depth(9000)}, 5, 100)
    assert scaling.wanted({}, 5, 200) == []
    assert scaling.spare({}, {"metrics": 1}, 900) == []
