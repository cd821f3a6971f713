"""Readings over time: resolutions, gaps, and ranges that cannot be."""

from datetime import UTC, datetime, timedelta

import pytest

from labmon.store.metrics import rollup
from tests.integration.dashboard.lab import measure


def at(hour, minute=0, day=1):
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


def ask(api, first, past, **more):
    query = {"from": first.isoformat(), "to": past.isoformat(), "metrics": "cpu_percent"} | more
    return api.get("/systems/1/series", params=query)


def test_single_readings_with_a_gap_where_some_are_missing(api, connection, lab):
    times = [at(12) + timedelta(minutes=n) for n in (*range(10), *range(20, 30))]
    measure(connection, 1, *times, cpu=5.0)
    found = ask(api, at(12), at(13))
    assert (found["resolution"], found["step"]) == ("raw", 60)
    assert len(found["t"]) == 21
    gap = found["cpu_percent"]["avg"].index(None)
    assert (gap, found["t"][gap]) == (10, int(at(12, 10).timestamp()))
    assert found["cpu_percent"]["max"][gap] is None


def test_one_that_is_measured_every_ten_minutes_has_no_gaps(api, connection, lab):
    measure(connection, 1, *(at(12) + timedelta(minutes=10 * n) for n in range(30)), cpu=5.0)
    found = ask(api, at(12), at(18))
    assert (found["step"], len(found["t"])) == (600, 30)
    assert None not in found["cpu_percent"]["avg"]


def test_uneven_readings_have_no_gaps(api, connection, lab):
    late = [0, 7, -5, 12, 3, -9, 15, 0, 8, -3]
    measure(connection, 1, *(at(12, n) + timedelta(seconds=20 + s) for n, s in enumerate(late)), cpu=5.0)
    assert None not in ask(api, at(12), at(13))["cpu_percent"]["avg"]


@pytest.mark.parametrize(
    ("hours", "resolution", "step"),
    [(1, "raw", 60), (24, "raw", 60), (24 * 6, "5m", 600), (24 * 30, "1h", 3600), (24 * 3600, "1d", 604800)],
)
def test_the_store_picks_the_resolution_and_never_more_points_than_asked_for(
    api, connection, lab, hours, resolution, step
):
    api.app.state.context.now = lambda: at(16)  # sums of 5 minutes are kept for some days only
    measure(connection, 1, *(at(12) + timedelta(minutes=n) for n in range(180)), cpu=5.0)
    measure(connection, 1, at(12, 30) + timedelta(seconds=30), cpu=95.0)
    while rollup.roll_up(connection, at(12, day=20)):
        pass
    connection.commit()
    found = ask(api, at(15) - timedelta(hours=hours), at(15))
    assert (found["resolution"], found["step"]) == (resolution, step)
    assert len(found["t"]) == len(found["cpu_percent"]["avg"]) == len(found["cpu_percent"]["max"]) <= 1440
    if hours > 1:
        assert (
            max(value for value in found["cpu_percent"]["max"] if value is not None) == 95.0
        )  # no spike is lost


def test_many_readings_become_steps(api, connection, lab):
    measure(connection, 1, *(at(12) + timedelta(seconds=5 * n) for n in range(3000)), cpu=5.0)
    found = ask(api, at(12), at(16))
    assert (found["resolution"], found["step"], len(found["t"])) == ("raw", 60, 240)
    assert len(ask(api, at(12), at(16), points=50)["t"]) <= 50


def test_what_is_not_summed_up_yet_is_in(api, connection, lab):
    measure(connection, 1, *(at(12) + timedelta(minutes=n) for n in range(60)), cpu=5.0)
    found = ask(api, at(12) - timedelta(days=30), at(14))
    assert found["resolution"] == "1h"
    assert found["cpu_percent"]["avg"] == [5.0]


def test_the_same_metric_twice_is_the_same(api, connection, lab):
    measure(connection, 1, at(12), cpu=5.0)
    assert ask(api, at(11), at(13), metrics="cpu_percent,cpu_percent,load1")["load1"]["avg"] == [None]


@pytest.mark.parametrize(
    "query",
    [
        {"from": "1026-01-01", "to": "2026-01-01"},
        {"from": "1", "to": "99999999999999999999"},
        {"from": "nan"},
        {"from": "inf", "to": "-inf"},
        {"from": "2026-03-01T12:00Z", "to": "2026-03-01T12:00Z"},
        {"from": "2026-03-02T12:00Z", "to": "2026-03-01T12:00Z"},
        {"from": "yesterday"},
        {"to": "0001-01-01T00:00+23:59"},
        {"metrics": "cpu_percent,cpu_prcent"},
        {"metrics": "cpu_percent; DROP TABLE metrics"},
        {"metrics": ","},
        {"points": "0"},
        {"points": "1441"},
        {"points": "many"},
    ],
)
def test_what_cannot_be_meant_is_a_problem_that_says_so(api, lab, query):
    answer = api.ask("GET", "/systems/1/series", params=query)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].partition(":")[0] in ("from", "to", "metrics", "points")


def test_availability_is_the_share_of_the_time(api, connection, lab):
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    begin = now - timedelta(hours=12)
    connection.execute("UPDATE systems SET first_seen = %s WHERE system_id = 1", [begin])
    measure(connection, 1, *(begin + timedelta(minutes=n) for n in range(12 * 60) if not 240 <= n < 360))
    found = api.get("/systems/1/availability")
    assert len(found["states"]) == 48
    assert (found["to"] - found["from"], found["step"]) == (86400, 1800)
    assert found["states"][:20] == [None] * 20
    assert {"up", "down"} <= set(found["states"])
    assert found["states"].count("down") in (3, 4)
    assert 82 <= found["percent"] <= 85
    assert api.get("/systems/1/availability?days=30")["step"] == 43200
    api.get("/systems/1/availability?days=31", 422)
