from datetime import UTC, datetime, timedelta

import pytest

from labmon.backlog import Level, due_alerts, level
from labmon.brokers.base import Depth
from labmon.settings import load

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = load(environ={"LABMON_QUEUE_BACKLOG_HOLD": "5m"}).config.queue


def depth(ready):
    return Depth(ready, 0, 0, 0, 1, 0.0)


@pytest.mark.parametrize(
    "ready, said",
    [(0, "ok"), (1000, "ok"), (1001, "warning"), (10000, "warning"), (10001, "critical")],
)
def test_levels(ready, said):
    assert level(depth(ready), SETTINGS) is Level[said]


def test_what_to_do_is_said():
    assert [one.advice for one in Level] == ["", "add consumers", "alert operations"]


@pytest.fixture
def look(tmp_path):
    def at(minute, ready, queue="metrics_queue"):
        alerts = due_alerts(
            {queue: depth(ready)}, SETTINGS, tmp_path / "state", NOW + timedelta(minutes=minute)
        )
        return [(one.alert_type, one.severity, one.value, one.threshold) for one in alerts]

    return at


FULL = [("queue_backlog:metrics_queue", "critical", 20000.0, 10000.0)]


def test_a_queue_must_stay_full_before_anybody_is_told_and_is_told_of_once(look):
    assert look(0, 20000) == []
    assert look(4, 20000) == []
    assert look(5, 20000) == FULL
    assert look(60, 20000) == []


def test_a_moment_below_the_threshold_starts_the_hold_again(look):
    assert look(0, 20000) == []
    assert look(4, 10000) == []
    assert look(5, 20000) == []
    assert look(10, 20000) == FULL


def test_hovering_at_the_threshold_is_told_once_until_it_was_really_down(look):
    look(0, 20000)
    assert look(5, 20000) == FULL
    look(6, 5000)
    look(7, 20000)
    assert look(13, 20000) == []
    look(14, 1000)
    look(15, 20000)
    assert look(20, 20000) == FULL


def test_queues_are_judged_each_for_itself(look):
    look(0, 20000)
    assert look(5, 20000, "discovery_queue") == []
    assert look(6, 20000) == FULL


def test_a_damaged_memory_is_forgotten(look, tmp_path):
    look(0, 20000)
    (tmp_path / "state/backlog.json").write_text('{"metrics_queue": [')
    assert look(5, 20000) == []
    assert look(10, 20000) == FULL
