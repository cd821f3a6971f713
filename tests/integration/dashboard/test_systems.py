"""Systems over the API: states, one of them, its past."""

from datetime import UTC, datetime, timedelta

import pytest

from labmon.store.inventory import maintenance
from labmon.store.inventory.maintenance import Scope
from tests.integration.dashboard.conftest import rows
from tests.integration.dashboard.lab import fire, measure, minutes_ago


def states(api):
    api.app.state.context.live.touch()
    return {number: one["state"] for number, one in rows(api.get("/systems")).items()}


def test_each_system_has_one_state_and_its_newest_readings(api, connection, lab):
    measure(connection, 1, minutes_ago(2), cpu=55.5, users=1)
    measure(connection, 2, minutes_ago(1), cpu=3.0)
    connection.execute("UPDATE systems SET status = 'refused', status_since = now() WHERE system_id = 3")
    connection.commit()
    found = rows(api.get("/systems"))
    assert {number: one["state"] for number, one in found.items()} == {1: "up", 2: "up", 3: "down", 4: "new"}
    assert (found[1]["cpu_percent"], found[1]["usage"], found[2]["usage"]) == (55.5, "busy", "free")
    assert (found[1]["lab"], found[1]["ip_address"], found[3]["usage"]) == ("A-101", "10.0.0.1", None)
    assert found[1]["last_collected"].endswith("Z")


def test_the_worst_firing_alert_decides(api, connection, lab):
    measure(connection, 1, minutes_ago(1))
    fire(connection, 1, "warm", "warning")
    assert states(api)[1] == "warning"
    fire(connection, 1, "on_fire", "critical")
    assert states(api)[1] == "critical"
    assert rows(api.get("/systems"))[1]["alerts"] == 2


def test_one_that_stays_silent_while_others_are_measured_is_down(api, connection, lab):
    measure(connection, 1, *(minutes_ago(40 - n) for n in range(6)))
    assert states(api)[1] == "up"  # nobody is measured: that says nothing about this one
    measure(connection, 2, minutes_ago(1))
    assert states(api) == {1: "down", 2: "up", 3: "new", 4: "new"}


def test_one_that_is_measured_every_hour_is_not_down_after_half_an_hour(api, connection, lab):
    measure(connection, 1, *(minutes_ago(30 + 60 * n) for n in range(6)))
    measure(connection, 2, minutes_ago(1))
    assert states(api)[1] == "up"


def test_closed_by_its_weekly_hours_it_is_off_and_in_maintenance_neither(api, connection, lab):
    measure(connection, 1, minutes_ago(60))
    measure(connection, 3, minutes_ago(60))
    measure(connection, 4, minutes_ago(1))
    maintenance.add(connection, "skip", Scope(lab_id=1), weekly="Mon-Sun 0:00-24:00", timezone="UTC")
    now = datetime.now(UTC)
    maintenance.add(
        connection,
        "record",
        Scope(system_id=3),
        starts_at=now - timedelta(hours=1),
        ends_at=now + timedelta(1),
    )
    connection.commit()
    assert states(api) == {1: "off", 2: "new", 3: "maintenance", 4: "up"}


def test_the_sequence_grows_only_when_something_has_changed(api, connection, lab):
    first = api.get("/systems")["sequence"]
    api.app.state.context.live.touch()
    assert api.get("/systems")["sequence"] == first
    measure(connection, 1, minutes_ago(1))
    api.app.state.context.live.touch()
    assert api.get("/systems")["sequence"] == first + 1


def test_hostile_names_stay_text(api, connection, lab):
    name = "<script>alert('x')</script>\u202e\"\\"
    connection.execute("UPDATE systems SET hostname = %s WHERE system_id = 1", [name])
    connection.execute("UPDATE systems SET hostname = '=1+1' WHERE system_id = 2")
    connection.commit()
    answer = api.ask("GET", "/systems")
    assert answer.headers["content-type"] == "application/json"
    assert rows(answer.json())[1]["hostname"] == name.replace("\u202e", "\\u202e")
    assert "'=1+1" in api.ask("GET", "/systems.csv").text


def test_the_list_may_come_compressed_or_not(api, lab):
    plain = api.ask("GET", "/systems", headers={"accept-encoding": "identity"})
    packed = api.ask("GET", "/systems", headers={"accept-encoding": "gzip"})
    assert plain.headers.get("content-encoding") is None
    assert packed.headers["content-encoding"] == "gzip"
    assert plain.content == packed.content


def test_one_system_has_everything(api, connection, lab):
    measure(connection, 1, minutes_ago(1), disk_percent=91.5)
    fire(connection, 1)
    found = api.get("/systems/1")
    assert (found["hostname"], found["lab"], found["state"]) == ("pc-1", "A-101", "warning")
    assert found["latest"]["disk_percent"] == 91.5
    assert found["latest"]["gpu_percent"] is None
    assert {
        "metric": "disk_percent",
        "comparison": ">",
        "threshold": 97.0,
        "severity": "critical",
    }.items() <= next(one for one in found["limits"] if one["rule"] == "disk_full").items()
    assert [one["alert_type"] for one in found["alerts"]] == ["hot"]


@pytest.mark.parametrize("path", ["", "/series", "/events", "/availability"])
def test_a_system_that_was_removed_is_a_404(api, lab, path):
    answer = api.ask("GET", f"/systems/99{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"].startswith("there is no system 99")


def test_events_come_in_pages_that_do_not_shift(api, connection, lab):
    for n in range(5):
        connection.execute(
            "INSERT INTO system_history (system_id, at, change, new_value) VALUES (1, %s, 'renamed', %s)",
            [datetime(2026, 3, 1, 12, n // 2, tzinfo=UTC), f"name{n}"],
        )
    connection.commit()
    first = api.get("/systems/1/events?limit=2")
    connection.execute(
        "INSERT INTO system_history (system_id, at, change, new_value) VALUES (1, now(), 'renamed', 'later')"
    )
    connection.commit()
    seen, after = [one["new_value"] for one in first["items"]], first["next"]
    while after:
        page = api.get(f"/systems/1/events?limit=2&after={after}")
        seen += [one["new_value"] for one in page["items"]]
        after = page["next"]
    assert seen == ["name4", "name3", "name2", "name1", "name0"]


def test_maintenance_of_one_system(api, connection, lab):
    until = (datetime.now(UTC) + timedelta(hours=2)).isoformat()
    made = api.post("/systems/1/maintenance", {"until": until, "comment": "new fan"}, 201)
    assert (made["system_id"], made["comment"], made["active"]) == (1, "new fan", True)
    assert rows(api.get("/systems"))[1]["state"] == "maintenance"
    api.post("/systems/1/maintenance", {"until": "yesterday"}, 422)
    api.post("/systems/99/maintenance", {"until": until}, 404)


def test_labs_count_their_systems(api, connection, lab):
    measure(connection, 1, minutes_ago(1), users=2)
    measure(connection, 2, minutes_ago(1))
    labs = api.get("/labs")
    assert [(one["name"], one["systems"], one["free"], one["busy"]) for one in labs] == [
        ("A-101", 2, 1, 1),
        ("B-7", 0, 0, 0),
    ]
    assert labs[0]["logged_in_users"] == 2
    found = api.get("/labs/1")
    assert found["lab"]["name"] == "A-101"
    assert [dict(zip(found["columns"], row, strict=True))["hostname"] for row in found["systems"]] == [
        "pc-1",
        "pc-2",
    ]
    api.get("/labs/99", 404)


def test_the_summary_of_an_empty_installation_says_what_to_run(api):
    found = api.get("/summary")
    assert found["systems"] == 0
    assert any("labmon scan" in one for one in found["setup"])


def test_the_summary_adds_up(api, connection, lab):
    measure(connection, 1, minutes_ago(1), cpu=90.0)
    measure(connection, 2, minutes_ago(2), cpu=20.0)
    fire(connection, 2, severity="critical")
    found = api.get("/summary")
    assert sum(found["states"].values()) == found["systems"] == 4
    assert found["alerts"] == {"critical": 1, "warning": 0, "info": 0, "acknowledged": 0}
    assert [one["system_id"] for one in found["worst"]["cpu_percent"]] == [1, 2]
    assert found["firing"][0]["subject"] == "pc-2"
    assert found["setup"] == []


@pytest.mark.parametrize(
    "name", ["pc\u202egnp.exe", "pc\u200b1", "pc\x1b[31m", "pc\x9b1", "p\u00fc-1 \U0001f5a5"]
)
def test_host_names_that_act_on_a_page_are_escaped_wherever_they_are_read(api, lab, connection, name):
    from labmon.dashboard.report import report
    from labmon.text import foreign

    connection.execute("UPDATE systems SET hostname = %s WHERE system_id = 1", [name])
    connection.commit()
    assert rows(api.get("/systems"))[1]["hostname"] == foreign(name)
    assert api.get("/systems/1")["hostname"] == foreign(name)
    text = report(connection, datetime.now(UTC))
    assert not {"\u202e", "\u200b", "\x1b", "\x9b"} & set(text)
