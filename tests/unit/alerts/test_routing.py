import pytest

from labmon.alerts.routing import route
from labmon.config.tables import NotifyTarget
from labmon.messages import Alert, utcnow


def alert(severity="warning", state="firing"):
    return Alert(
        system_id=42,
        alert_type="cpu_high",
        severity=severity,
        value=95.5,
        threshold=90.0,
        at=utcnow(),
        state=state,
    )


def target(**settings):
    return NotifyTarget(name="admins", url="https://hooks.example.edu/x", **settings)


@pytest.mark.parametrize(
    "settings, told, why",
    [
        ({}, True, "every alert"),
        ({"severities": ["warning", "critical"]}, True, "severity warning"),
        ({"severities": ["critical"]}, False, "severity warning is not in its severities"),
        ({"departments": [1]}, True, "department 1"),
        ({"departments": [2, 3]}, False, "department 1 is not in its departments"),
        ({"labs": [7]}, True, "lab 7"),
        ({"labs": [8]}, False, "lab 7 is not in its labs"),
        ({"departments": [1], "labs": [8]}, False, "lab 7"),
    ],
)
def test_a_target_is_told_of_what_all_its_lists_contain(settings, told, why):
    (verdict,) = route(alert(), {1}, {7}, [target(**settings)])
    assert verdict.notified is told
    assert why in verdict.why


def test_who_watches_a_lab_is_not_told_of_machines_that_are_in_none():
    (verdict,) = route(alert(), {1}, set(), [target(labs=[7])])
    assert (verdict.notified, verdict.why) == (False, "no lab is not in its labs")


@pytest.mark.parametrize(
    "settings, told, why",
    [
        ({"departments": [2, 3, 9]}, True, "departments 2, 3"),
        ({"departments": [4]}, False, "departments 1, 2, 3 are not in its departments"),
        ({"labs": [8]}, True, "lab 8"),
        ({"labs": [1]}, False, "labs 7, 8 are not in its labs"),
    ],
)
def test_what_touches_many_is_told_to_whoever_wants_any_of_them(settings, told, why):
    (verdict,) = route(alert(), {1, 2, 3}, {7, 8}, [target(**settings)])
    assert (verdict.notified, verdict.why) == (told, why)


def test_of_an_alert_that_may_be_about_anybody_it_is_said_whom_it_has_to_touch():
    wants = target(departments=[1, 2], labs=[7])
    (verdict,) = route(alert(), None, None, [wants])
    assert (verdict.notified, verdict.why) == (
        True,
        "only where it touches departments 1, 2, only where it touches lab 7",
    )


def test_ends_are_told_unless_the_target_does_not_want_them():
    both = [target(), target(resolved=False)]
    assert [one.notified for one in route(alert(state="resolved"), {1}, {7}, both)] == [True, False]
    assert [one.notified for one in route(alert(), {1}, {7}, both)] == [True, True]
