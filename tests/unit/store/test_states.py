"""The state of a system, and what a strip of its past says."""

import pytest

from labmon.store.inventory.availability import merged, strip
from labmon.store.inventory.states import decide


@pytest.mark.parametrize(
    ("status", "more", "state"),
    [
        ("active", {}, "up"),
        ("discovered", {"is_measured": False}, "new"),
        ("offline", {}, "down"),
        ("auth failed", {}, "down"),
        ("active", {"is_missing": True}, "down"),
        ("active", {"is_missing": True, "is_closed": True}, "off"),
        ("offline", {"is_closed": True}, "off"),
        ("active", {"is_closed": True}, "up"),
        ("offline", {"severity": "warning"}, "warning"),
        ("active", {"severity": "critical"}, "critical"),
        ("active", {"severity": "critical", "in_maintenance": True}, "maintenance"),
        ("maintenance", {}, "maintenance"),
    ],
)
def test_the_first_that_holds_counts(status, more, state):
    assert decide(status, **more) == state


def test_a_strip_is_none_before_it_is_known_then_up_partly_or_down():
    states, percent = strip((0, 500), 100, 100, [(100, 200), (250, 300)])
    assert states == [None, "up", "partly", "down", "down"]
    assert percent == 37.5


def test_closed_hours_and_maintenance_cost_nothing():
    states, percent = strip((0, 400), 100, 0, [(0, 100)], off=[(100, 200)], maintenance=[(200, 400)])
    assert states == ["up", "off", "maintenance", "maintenance"]
    assert percent == 100.0
    assert strip((0, 100), 100, 0, [], off=[(0, 100)]) == (["off"], None)


def test_spans_that_touch_are_one():
    assert merged([(5, 9), (0, 3), (3, 4), (6, 7)]) == [(0, 4), (5, 9)]
