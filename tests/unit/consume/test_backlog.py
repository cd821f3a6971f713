import pytest

from labmon.brokers.base import Depth
from labmon.config.load import load
from labmon.consume.backlog import BacklogLevel, advice, level

SETTINGS = load(environ={}).config.queue


def depth(ready):
    return Depth(ready, 0, 0, 0, 1, 0.0)


@pytest.mark.parametrize(
    "ready, said",
    [(0, "ok"), (1000, "ok"), (1001, "warning"), (10000, "warning"), (10001, "critical")],
)
def test_levels(ready, said):
    assert level(depth(ready), SETTINGS) is BacklogLevel[said]


def test_the_advice_names_what_to_do():
    said = {ready: advice("work", depth(ready), SETTINGS) for ready in (0, 1001, 10001)}
    assert said == {0: "", 1001: "add consumers", 10001: "alert operations"}
    dead = Depth(0, 0, 0, 3, 1, 0.0)
    assert advice("work", dead, SETTINGS) == "labmon dead-letters list work"
    assert level(dead, SETTINGS) is BacklogLevel.warning
