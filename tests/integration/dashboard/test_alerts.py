"""Alerts over the API: pages that do not shift, and what people say."""

from datetime import UTC, datetime, timedelta

import pytest

from labmon.alerts import incidents
from tests.integration.dashboard.lab import fire

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def pages(api, path, between=lambda: None):
    """All items, page by page; something happens between two."""
    items, after = [], ""
    while after is not None:
        page = api.get(f"{path}{'&after=' + after if after else ''}")
        items += page["items"]
        after = page["next"]
        between()
    return items


def test_pages_neither_repeat_nor_skip_while_alerts_come(api, connection, lab):
    fired = [fire(connection, 1, f"rule{n}", at=NOON + timedelta(seconds=n // 3)) for n in range(10)]
    names = iter(range(100))
    found = pages(api, "/alerts?limit=3", lambda: fire(connection, 2, f"later{next(names)}"))
    assert [one["alert_id"] for one in found] == fired[::-1]


def test_an_acknowledged_one_is_no_longer_firing_and_comes_back(api, connection, lab):
    one, other = fire(connection, 1), fire(connection, 2)
    assert api.post("/alerts/ack", {"ids": [one, 999], "note": "on it"}) == {"ids": [one]}
    assert [item["alert_id"] for item in api.get("/alerts")["items"]] == [other]
    (seen,) = api.get("/alerts?state=acknowledged")["items"]
    assert (seen["acknowledged_by"], seen["comment"]) == ("local", "on it")
    assert api.get("/summary")["alerts"]["acknowledged"] == 1
    assert api.post("/alerts/unack", {"ids": [one, other]}) == {"ids": [one]}
    assert {item["alert_id"] for item in api.get("/alerts")["items"]} == {one, other}
    steps = api.get(f"/alerts/{one}")["steps"]
    assert [step["event"] for step in steps] == ["acknowledged", "unacknowledged"]


def test_what_ended_with_its_acknowledgement_stays_over(api, connection, lab):
    one = fire(connection, 1)
    connection.execute("UPDATE alert_incidents SET kind = 'changed'")
    connection.commit()
    api.post("/alerts/ack", {"ids": [one]})
    assert api.post("/alerts/unack", {"ids": [one]}) == {"ids": []}
    assert [item["state"] for item in api.get("/alerts?state=resolved")["items"]] == ["resolved"]


def test_filters_by_severity_lab_and_system(api, connection, lab):
    one, other = fire(connection, 1, severity="critical"), fire(connection, 3)
    for query, expected in (
        ("severity=critical", [one]),
        ("lab=1", [one]),
        ("system=3", [other]),
        ("lab=2", []),
        ("state=all", [other, one]),
    ):
        assert [item["alert_id"] for item in api.get(f"/alerts?{query}")["items"]] == expected


def test_a_silence_is_of_the_rule_and_where_the_alert_is(api, connection, lab):
    ids = [fire(connection, 1, "hot"), fire(connection, 1, "full"), fire(connection, 2, "hot")]
    until = (datetime.now(UTC) + timedelta(hours=8)).isoformat()
    made = api.post("/alerts/silence", {"ids": ids, "until": until, "note": "<b>moving</b>"}, 201)
    found = api.get("/maintenance")
    assert [one["maintenance_id"] for one in found] == sorted(made["silences"])
    assert {(one["rule"], one["scope"], one["comment"]) for one in found} == {
        ("hot", "system 1", "<b>moving</b>"),
        ("full", "system 1", "<b>moving</b>"),
        ("hot", "system 2", "<b>moving</b>"),
    }
    api.post("/alerts/silence", {"ids": ids, "until": 5}, 422)
    api.post("/alerts/silence", {"ids": [999], "until": until}, 404)


@pytest.mark.parametrize(
    "body",
    [
        {"ids": []},
        {"ids": [0]},
        {"ids": [2**63]},
        {"ids": "all"},
        {},
        {"ids": [1], "note": "two\nlines"},
        {"ids": [1], "note": "nul\x00"},
        {"ids": [1], "note": "half \ud800"},
        {"ids": [1], "note": "x" * 300},
    ],
)
def test_a_body_that_makes_no_sense_is_refused(api, lab, body):
    import json

    token = api.app.state.context.local_csrf
    headers = {"content-type": "application/json", "x-csrf-token": token}
    answer = api.ask("POST", "/alerts/ack", content=json.dumps(body).encode(), headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


@pytest.mark.parametrize("after", ["x", "1_", "_1", "1_-1", "9" * 100 + "_1", "1_9999999999999999999"])
def test_a_page_after_nonsense_is_refused(api, lab, after):
    for path in ("/alerts", "/scans", "/deliveries", "/systems/1/events"):
        api.get(f"{path}?after={after}", 422)


def test_rules_can_be_changed_and_wrongly_not(api, lab):
    rule = next(one for one in api.get("/rules") if one["name"] == "cpu_high")
    changed = api.post("/rules/cpu_high", {"threshold": 97, "for": "20m", "enabled": False}, method="PATCH")
    assert (changed["threshold"], changed["hold_seconds"], changed["enabled"]) == (97, 1200, False)
    assert changed["rule_id"] == rule["rule_id"]
    for body in (
        {"threshold": 1},  # below where it clears
        {"severity": "terrible"},
        {"for": "soon"},
        {"name": "other"},
        {"threshold": "much"},
    ):
        api.post("/rules/cpu_high", body, 422, method="PATCH")
    api.post("/rules/cpu_hihg", {"enabled": True}, 422, method="PATCH")


def test_maintenance_is_planned_and_ended(api, connection, lab):
    made = api.post("/maintenance", {"lab_id": 1, "weekly": "Sat-Sun", "timezone": "Europe/Berlin"}, 201)
    assert (made["scope"], made["weekly"], made["said_by"]) == ("lab 1", "Sat-Sun", "local")
    api.post("/maintenance", {"lab_id": 1, "system_id": 1, "weekly": "Sat"}, 422)
    api.post("/maintenance", {"system_id": 99, "weekly": "Sat"}, 422)
    api.post("/maintenance", {"weekly": "Funday"}, 422)
    api.post("/maintenance", {"lab_id": 1}, 422)
    number = made["maintenance_id"]
    assert api.post(f"/maintenance/{number}", None, method="DELETE") == {"removed": number}
    api.post(f"/maintenance/{number}", None, 404, method="DELETE")
    assert api.get("/maintenance") == []


def test_scans_and_what_they_changed(api, connection, lab):
    for number in (1, 2, 3):
        connection.execute(
            "INSERT INTO scans (scan_id, dept_id, scan_type, target_range, started_at, finished_at, "
            "systems_found, status) VALUES (%s, 1, 'arp', '10.0.0.0/24', %s, %s, 4, 'completed')",
            [number, NOON, NOON],
        )
    connection.execute(
        "INSERT INTO system_history (system_id, at, scan_id, change, new_value) "
        "VALUES (1, %s, 2, 'found', 'x')",
        [NOON],
    )
    connection.commit()
    assert [one["scan_id"] for one in pages(api, "/scans?limit=1")] == [3, 2, 1]
    found = api.get("/scans/2")
    assert (found["scan"]["systems_found"], [one["change"] for one in found["changes"]]) == (4, ["found"])
    api.get("/scans/99", 404)


def test_unacknowledged_alerts_are_repeated_again(connection, lab):
    one = fire(connection, 1, at=NOON)
    connection.execute("UPDATE alert_incidents SET repeat_at = %s", [NOON + timedelta(hours=4)])
    incidents.acknowledge(connection, [one], "anna", None, NOON)
    later = NOON + timedelta(hours=5)
    tell = "SELECT labmon_alerts_tell(%s)"
    connection.execute("UPDATE alert_incidents SET rule_id = 1")
    assert connection.execute(tell, [later]).fetchone() == (0,)
    assert incidents.unacknowledge(connection, [one], "anna", later) == [one]
    assert connection.execute(tell, [later]).fetchone() == (1,)
