import pytest

from labmon.backlog import Level, level
from labmon.brokers.base import Depth
from labmon.settings import load

SETTINGS = load(environ={}).config.queue


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
