"""Rules in the database and as TOML; incidents as people see them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labmon.alerts import incidents, rules
from labmon.alerts.evaluate import errors, tick, waiting
from labmon.alerts.rules import Rule, from_toml, to_toml
from labmon.app.open import ingest_settings, open_spool
from labmon.brokers.base import Depth
from labmon.config.units import Seconds
from labmon.consume.alert_evaluator import AlertEvaluator
from labmon.errors import UsageError
from labmon.messages import Readings
from labmon.store.inventory.maintenance import Scope
from tests.integration.alerts.conftest import NOON, minutes
from tests.integration.alerts.test_state_machine import rules as valid

durations = st.integers(1, 86400).map(Seconds)
written = st.builds(
    lambda rule, **more: Rule(
        metric=rule.metric,
        comparison=rule.comparison,
        threshold=rule.threshold,
        clear=rule.clear_threshold,
        enabled=rule.enabled,
        **more,
    ),
    valid,
    name=st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True),
    hold=durations,
    clear_for=st.none() | durations,
    repeat=durations,
    max_gap=durations,
    severity=st.sampled_from(["info", "warning", "critical"]),
    system=st.none() | st.integers(1, 9),
    note=st.none() | st.text("abc \"'\\=#äö", min_size=1, max_size=40),
)


@given(st.lists(written, unique_by=lambda rule: (rule.name, rule.system)))
def test_what_is_exported_is_imported_as_it_was(found):
    assert from_toml(to_toml(found), "file") == found


def test_the_rules_of_a_fresh_database_survive_the_way_through_a_file(connection):
    before = rules.rules(connection)
    assert {rule.kind for rule in before.values()} == set(rules.KINDS)
    for rule in from_toml(to_toml(list(before.values())), "file"):
        rules.put(connection, rule)
    assert rules.rules(connection) == before


def test_a_rule_comes_back_from_the_database_as_it_went_in(site):
    site.systems(1, lab=3)
    one = Rule(
        name="one",
        metric="load1",
        comparison="<=",
        threshold=0.25,
        clear=1.5,
        hold=Seconds(90),
        clear_for=Seconds(5),
        repeat=Seconds(0),
        max_gap=Seconds(60),
        severity="info",
        lab=3,
        enabled=False,
        note="ätsch",
    )
    number = rules.put(site.connection, one)
    assert rules.find(site.connection, "one") == (number, one)
    assert rules.put(site.connection, one) == number  # the same name and scope: the same rule
    assert rules.put(site.connection, Rule(name="one", metric="load1")) != number
    with pytest.raises(UsageError, match="several rules are named one"):
        rules.find(site.connection, "one")
    assert rules.find(site.connection, str(number)) == (number, one)


@pytest.mark.parametrize(
    "text, said",
    [
        ("rule = 3", "[[rule]]"),
        ("[rules]", "[[rule]]"),
        ("[[rule", "not TOML"),
        ("[[rule]]\nmetric = 'load1'", "rule number 1: missing required field `name`"),
        ("[[rule]]\nname = 'a'", "needs a `metric`"),
        ("[[rule]]\nname = 'a'\nkind = 'no_data'\nmetric = 'load1'", "has no `metric`"),
        ("[[rule]]\nname = 'a'\nmetric = 'cpu_percnt'", "Did you mean cpu_percent?"),
        ("[[rule]]\nname = 'a'\nmetric = 'load1'\nfor = 'soon'", "rule a: for: expected a duration"),
        ("[[rule]]\nname = 'a'\nmetric = 'load1'\ntreshold = 3", "treshold"),
        ("[[rule]]\nname = 'a'\nmetric = 'load1'\nthreshold = 3\nclear = 4", "wrong side"),
        ("[[rule]]\nname = 'a'\nmetric = 'load1'\nlab = 3\ndept = 1", "one of"),
        ("[[rule]]\nname = 'a'\nmetric = 'load1'\nseverity = 'loud'", "severity"),
        (
            "[[rule]]\nname = 'a'\nmetric = 'load1'\n[[rule]]\nname = 'a'\nmetric = 'load1'",
            "two rules a for all",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_the_rule_and_the_key(text, said):
    with pytest.raises(UsageError) as refused:
        from_toml(text, "rules.toml")
    assert str(refused.value).startswith("rules.toml: ") and said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_scope_that_does_not_exist_is_refused(connection):
    with pytest.raises(UsageError, match="there is no lab 77"):
        rules.put(connection, Rule(name="a", metric="load1", lab=77))


def test_every_metric_can_have_a_rule(site):
    """Also one that a later migration adds: the trigger asks the table, not a list."""
    site.systems(1)
    site.connection.execute("DELETE FROM alert_rules")
    site.connection.execute("ALTER TABLE metrics ADD COLUMN noise_db real")
    for name in Readings.__struct_fields__:
        rules.put(site.connection, Rule(name=name, metric=name, threshold=0))
    site.another_rule("noise", metric="noise_db", threshold=0)
    site.measure(0, **{name: 7 for name in Readings.__struct_fields__})
    site.connection.execute(
        "INSERT INTO metrics (system_id, collected_at, noise_db) VALUES (1, %s, 80)", [NOON + minutes(1)]
    )
    assert {one.alert_type for one in site.told()} == {*Readings.__struct_fields__, "noise"}


def test_people_see_the_worst_first_with_the_newest_value(site):
    site.systems(2, lab=3)
    site.only("hot", severity="info", hold=minutes(1))
    site.another_rule("hotter", threshold=95, severity="critical")
    site.series(1, cpu_percent=[(0, 96.0), (1, 97.5)])
    site.measure(2, [1], cpu_percent=99.0)
    site.measure(2, [2], cpu_percent=91.0)
    found = incidents.standing(site.connection)
    assert [(one.alert_type, one.subject, one.value, one.value_now) for one in found] == [
        ("hotter", "pc-1", 96, 99),
        ("hot", "pc-1", 97.5, 99),
    ]
    assert len(incidents.standing(site.connection, pending=True)) == 3
    assert incidents.standing(site.connection, Scope(system_id=2)) == []
    assert len(incidents.standing(site.connection, Scope(lab_id=3), rule="hot")) == 1
    assert incidents.acknowledge(
        site.connection, [found[0].alert_id, 99], "eva", "fan", NOON + minutes(3)
    ) == [found[0].alert_id]
    one, steps, names = incidents.show(site.connection, found[0].alert_id)
    assert (one.acknowledged_by, one.comment, names) == ("eva", "fan", [])
    assert [(step.event, step.said_by) for step in steps] == [
        *(("fired", None), ("told", None), ("acknowledged", "eva")),
    ]
    assert [one.alert_type for one in incidents.over(site.connection)] == ["hotter", "hot"]
    assert incidents.show(site.connection, 4711) is None


def test_the_duty_tells_the_rules_what_it_sees(site, store, config):
    site.connection.execute("UPDATE alert_rules SET hold = '0' WHERE name = 'queue_backlog'")
    site.connection.commit()
    depth = Depth(20000, ready_high=None, in_flight=0, dead=0, consumers=1, oldest_age_seconds=None)
    depths = {"metrics_queue": depth}
    AlertEvaluator(ingest_settings(config), store, lambda: depths, open_spool(config)).evaluate()
    (alert,) = site.told()
    assert (alert.alert_type, alert.value) == ("queue_backlog:metrics_queue", 20000)
    assert waiting(site.connection) == (0, None)


def test_only_one_session_ticks_at_a_time(store, connection):
    with store.transaction() as other:
        assert tick(other, NOON, depths={}, metrics_queue="m") == 0
        assert tick(connection, NOON, depths={}, metrics_queue="m") is None
    assert errors(connection) == []
    assert tick(connection, NOON + timedelta(seconds=5), depths={}, metrics_queue="m") == 0
