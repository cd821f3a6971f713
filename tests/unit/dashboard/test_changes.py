"""When those who listen are told that the database is away, and when that it is back."""

import pytest

from labmon.dashboard.live.changes import Changes
from labmon.errors import StoreUnavailable


@pytest.fixture
def sent():
    return []


@pytest.fixture
def changes(monkeypatch):
    made = Changes(None, None, None, None)
    made.found = lambda: b""
    monkeypatch.setattr(made, "_look", lambda: made.found())
    return made


def names(sent):
    return [
        line.removeprefix("event: ") for one in sent for line in one.decode().splitlines() if "event" in line
    ]


def test_it_is_said_once_whoever_notices_first(changes, sent):
    def fails():
        raise StoreUnavailable("away")

    changes.found = fails
    changes.lost("gone", sent.append)
    changes.look(sent.append)
    changes.lost("gone again", sent.append)
    assert names(sent) == ["problem"]
    changes.found = lambda: b""
    changes.look(sent.append)
    changes.look(sent.append)
    assert names(sent) == ["problem", "reset"]


def test_a_look_during_which_it_went_away_does_not_say_that_it_is_back(changes, sent):
    def goes_away():
        changes.lost("gone", sent.append)
        return b"event: summary\ndata: {}\n\n"

    changes.found = goes_away
    changes.look(sent.append)
    assert names(sent) == ["problem"]
    assert b"problem" in changes.first()
