"""Fixtures that several unit tests share."""

import time

import pytest


class Clock:
    """A clock that moves when a test sets `now`."""

    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def zone(monkeypatch):
    """zone("Europe/Berlin"): the time zone of this process until the test ends."""

    def use(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield use
    monkeypatch.undo()
    time.tzset()
