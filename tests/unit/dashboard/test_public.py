"""Free seats while the database comes and goes."""

import time
from datetime import UTC, datetime

import pytest

from labmon.dashboard.pages import public
from labmon.dashboard.pages.public import FreeSeats
from labmon.errors import StoreUnavailable


class Context:
    """A database that is away where it is told so, and the moment."""

    is_away = False
    reads = 0

    def now(self):
        return datetime.now(UTC)

    def transaction(self):
        if self.is_away:
            raise StoreUnavailable("PostgreSQL at db.example.edu: away")
        self.reads += 1
        return memoryview(b"")  # something to enter


@pytest.fixture
def context(monkeypatch):
    monkeypatch.setattr(public, "read", lambda connection, now: [])
    return Context()


def test_it_is_read_once_and_kept_while_it_is_away(context, monkeypatch):
    free = FreeSeats(context)
    first = free.get()
    assert free.get() is first and not first.is_old
    monkeypatch.setattr(public, "KEEP", 0.0)
    time.sleep(0.01)
    context.is_away = True
    assert free.get() is first and first.is_old
    assert context.reads == 1
    context.is_away = False
    assert free.get() is not first


def test_it_is_not_kept_for_ever_and_the_error_does_not_say_where_the_database_is(context, monkeypatch):
    free = FreeSeats(context)
    free.get()
    monkeypatch.setattr(public, "KEEP", 0.0)
    monkeypatch.setattr(public, "KEEP_AWAY", 0.0)
    time.sleep(0.01)
    context.is_away = True
    with pytest.raises(StoreUnavailable) as raised:
        free.get()
    assert "example" not in str(raised.value)
