"""A statement that takes too long ends as a database that is away, and the next one works."""

import pytest

from labmon.app.open import open_store
from labmon.dashboard.context import Context
from labmon.errors import StoreUnavailable


def test_a_slow_statement_is_cancelled_and_the_next_works(config, context):
    with open_store(config, answer_within=0.2) as store:
        timely = Context(config, store)
        with pytest.raises(StoreUnavailable, match="statement timeout"), timely.transaction() as connection:
            connection.execute("SELECT pg_sleep(60)")
        with timely.transaction() as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_wait_for_a_lock_ends_too(config, lab, context):
    with open_store(config, answer_within=0.2) as store, store.transaction() as holding:
        holding.execute("LOCK TABLE systems")
        with (
            pytest.raises(StoreUnavailable, match="statement timeout"),
            Context(config, store).transaction() as second,
        ):
            second.execute("SELECT count(*) FROM systems")


def test_without_a_deadline_a_statement_takes_as_long_as_it_takes(config):
    with open_store(config) as store, store.transaction() as connection:
        connection.execute("SELECT pg_sleep(0.5)")
