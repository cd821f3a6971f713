"""Times and pages as they come in a query."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labmon.dashboard.api.parameters import moment, page, period, position
from labmon.dashboard.web import Problem

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["1772366400", "1772366400.0", "2026-03-01T12:00Z", "2026-03-01T12:00", "2026-03-01T14:00+02:00"]
)
def test_a_time_is_seconds_or_iso_8601(text):
    assert moment(text, "from", NOW) == NOW


@given(st.text(max_size=40))
def test_any_other_text_is_a_problem(text):
    try:
        assert moment(text, "from", NOW).tzinfo is UTC
    except Problem as problem:
        assert problem.status == 422


def test_a_range_without_ends_is_the_usual_one():
    assert period(None, None, NOW, timedelta(days=1)) == (NOW - timedelta(days=1), NOW)


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)), st.integers(0, 2**63 - 1))
def test_a_page_begins_exactly_where_the_one_before_ended(naive, number):
    at = naive.replace(tzinfo=UTC)
    found = page([(at, number), (at, number)], 1, lambda row: row)
    assert position(found["next"]) == (at, number)
    assert page([(at, number)], 1, lambda row: row)["next"] is None
