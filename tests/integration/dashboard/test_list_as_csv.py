"""The CSV file of the systems: what the list shows, and how queues and closed labs are told."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from labmon.store.inventory import maintenance
from labmon.store.inventory.maintenance import Scope
from tests.integration.dashboard.conftest import rows
from tests.integration.dashboard.lab import fire, measure, minutes_ago


def table(api, query):
    answer = api.ask("GET", f"/systems.csv?{query}")
    assert answer.status_code == 200, answer.text
    return list(csv.reader(io.StringIO(answer.text)))


@pytest.fixture
def measured(connection, lab):
    measure(connection, 1, minutes_ago(2), cpu=5.0)
    measure(connection, 2, minutes_ago(2), cpu=95.0, users=1)
    measure(connection, 4, minutes_ago(2), cpu=50.0)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("sort=-cpu_percent&columns=hostname", [["pc-2"], ["pc-4"], ["pc-1"], ["pc-3"]]),
        ("lab=1&columns=hostname", [["pc-1"], ["pc-2"]]),
        ("usage=busy&columns=hostname&sort=hostname", [["pc-2"], ["pc-4"]]),
        ("state=new&columns=hostname", [["pc-3"]]),
        ("q=a-101+pc&columns=hostname", [["pc-1"], ["pc-2"]]),
        ("q==10.0.0.1&columns=ip_address", [["10.0.0.1"]]),
        ("q=%2210.0.0.1%22&columns=ip_address", [["10.0.0.1"]]),
        ("q=%2210.0.0%22&columns=ip_address", []),
        ("q=-a-101&columns=hostname", [["pc-3"], ["pc-4"]]),
    ],
)  # fmt: skip
def test_the_file_has_the_rows_and_columns_of_the_address(api, measured, query, found):
    assert table(api, query)[1:] == found


def test_a_parameter_that_the_file_does_not_know_is_refused(api, lab):
    answer = api.ask("GET", "/systems.csv?colour=red")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("there is no parameter 'colour' here")


@pytest.mark.parametrize("query", ["state=blue", "sort=nothing", "columns=password", "lab=x"])
def test_what_the_file_does_not_know_is_refused(api, lab, query):
    answer = api.ask("GET", f"/systems.csv?{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"].partition(":")[0] == query.partition("=")[0]


def test_a_lab_that_is_closed_now_has_no_warning_and_nobody_busy(api, connection, measured):
    fire(connection, 2, "cpu_high", "critical")
    maintenance.add(connection, "skip", Scope(lab_id=1), weekly="Mon-Sun 0:00-24:00", timezone="UTC")
    connection.commit()
    found = rows(api.get("/systems"))
    assert (found[2]["state"], found[2]["usage"], found[2]["cpu_percent"]) == ("off", None, None)
    assert found[4]["usage"] == "busy"
    assert 'labmon_systems{state="off"} 2.0' in api.ask("GET", "/metrics").text
    assert api.get("/summary")["states"]["critical"] == 0


def test_one_reading_and_then_silence_is_not_all_of_the_time(api, connection, lab):
    measure(connection, 1, minutes_ago(50))
    for days in (1, 30):
        found = api.get(f"/systems/1/availability?days={days}")
        assert found["percent"] < 5
    assert api.get("/systems/1/availability")["states"][:40] == [None] * 40
    never = api.get("/systems/3/availability")
    assert (never["percent"], set(never["states"])) == (None, {None})


def test_readings_are_old_after_three_usual_intervals(api, connection, lab):
    measure(connection, 1, *(minutes_ago(5 * n) for n in range(1, 7)))
    assert api.get("/summary")["stale_after_seconds"] == 900
    api.app.state.context.live.touch()
    maintenance.add(connection, "skip", Scope(dept_id=1), weekly="Mon-Sun 0:00-24:00", timezone="UTC")
    connection.commit()
    api.app.state.context.live.touch()
    assert api.get("/summary")["stale_after_seconds"] is None


def test_two_minutes_are_never_old(api, connection, lab):
    now = datetime.now(UTC)
    measure(connection, 1, *(now - timedelta(seconds=10 * n) for n in range(1, 9)))
    assert api.get("/summary")["stale_after_seconds"] == 120
