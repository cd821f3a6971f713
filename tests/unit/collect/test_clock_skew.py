import logging
from datetime import UTC, datetime

import pytest

from labmon.collect.clock_skew import ClockSkews
from labmon.collect.failures import Failure
from labmon.collect.result import Result, Target
from labmon.messages import Readings


def result(skew, number=7):
    return Result(
        Target("10.30.5.13", 22, number, "lab-pc-03"),
        Readings(load1=1.0),
        datetime(2026, 3, 2, tzinfo=UTC),
        None,
        1.0,
        clock_skew=skew,
    )


@pytest.mark.parametrize(
    "skew, said",
    [
        (None, None),
        (0.4, None),
        (-29.0, None),
        (42.4, "lab-pc-03 (10.30.5.13): its clock is 42 s ahead"),
        (-42.4, "lab-pc-03 (10.30.5.13): its clock is 42 s behind"),
        (
            420.0,
            "lab-pc-03 (10.30.5.13): its clock is 420 s ahead, "
            "so its measurements carry the time of this machine",
        ),
    ],
)
def test_a_clock_that_is_notably_wrong_is_told_and_logged(skew, said, caplog):
    with caplog.at_level(logging.INFO, logger="labmon"):
        assert ClockSkews().check(result(skew)) == said
    assert [record.getMessage() for record in caplog.records] == ([said] if said else [])


def test_it_is_news_once_and_again_when_it_is_right():
    clocks = ClockSkews()
    told = [clocks.check(result(skew)) is not None for skew in (60.0, 61.0, None, 62.0, 0.1, 0.2, 60.0)]
    assert told == [True, False, False, False, True, False, True]


def test_each_machine_has_its_own():
    clocks = ClockSkews()
    assert clocks.check(result(60.0, 1)) and clocks.check(result(60.0, 2))


def test_a_machine_that_fails_says_nothing_of_its_clock():
    clocks = ClockSkews()
    failed = Result(Target("10.30.5.13", 22, 7), None, None, Failure("refused", ""), 0.1)
    assert clocks.check(failed) is None
