from dataclasses import fields, replace

import pytest

from labmon.alerts.incidents import Incident
from labmon.app.alerts.incidents import IncidentRow, amount, facts
from labmon.messages import utcnow

FIRING = Incident(**{field.name: None for field in fields(Incident)})
FIRING = replace(
    FIRING,
    alert_id=7,
    state="firing",
    severity="warning",
    alert_type="cpu_high",
    kind="threshold",
    metric="cpu_percent",
    system_id=42,
    subject="pc-1",
    value=95.0,
    threshold=90.0,
    since=utcnow(),
    repeats=0,
)


@pytest.mark.parametrize(
    ("kind", "metric", "value", "text"),
    [
        ("threshold", "cpu_percent", 95.25, "95.25 %"),
        ("threshold", "ram_total_bytes", 2.0**31, "2.0 GiB"),
        ("threshold", "cpu_temperature_celsius", 80.0, "80 °C"),
        ("threshold", "load1", 3.5, "3.5"),
        ("rate", "disk_percent", 12.4, "12 h"),
        ("rate", "disk_percent", 1e6, "never"),
        ("lab_down", None, 50.0, "50 %"),
        ("no_data", None, 120.0, "2 min"),
    ],
)
def test_a_value_has_the_unit_of_its_rule(kind, metric, value, text):
    assert amount(kind, metric, value) == text


def test_a_row_shows_the_newest_value_and_what_is_covered():
    row = IncidentRow.of(replace(FIRING, value_now=97.0, covered=3))
    assert (row.value, row.threshold, row.subject, row.state) == ("97 %", "90 %", "pc-1 (+3)", "firing")
    assert IncidentRow.of(FIRING).value == "95 %"


def test_the_state_says_who_has_seen_it_and_whether_it_is_muted():
    seen = replace(FIRING, state="acknowledged", acknowledged_by="eva", muted="maintenance 1")
    assert IncidentRow.of(seen).state == "acknowledged by eva"
    muted = replace(FIRING, state="muted", muted="maintenance 1")
    assert IncidentRow.of(muted).state == "muted: maintenance 1"
    silenced = replace(
        FIRING, state="silenced", silenced_until=utcnow().astimezone().replace(2026, 3, 2, 14, 5)
    )
    assert IncidentRow.of(silenced).state == "silenced until 03-02 14:05"


def test_facts_leave_out_what_an_incident_does_not_have():
    known = {name: text for name, text in facts(FIRING) if text}
    assert known["about"] == "pc-1 (system 42)"
    assert known.keys() == {"alert", "about", "state", "metric", "value", "limit", "since"}
