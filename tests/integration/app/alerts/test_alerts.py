"""Maintenance, rules and dry runs against a database, as their commands use them."""

import pytest
from msgspec import structs

from labmon.alerts import rules as stored
from labmon.alerts.rules import Rule
from labmon.app.alerts import dry_run, maintenance, rules
from labmon.app.alerts.incidents import check_rule
from labmon.config.tables import NotifyConfig, NotifyTarget
from labmon.errors import UsageError
from labmon.store.inventory.maintenance import EVERYTHING, Scope
from tests.support.receiver import Receiver

HOT = Rule(name="hot", metric="cpu_percent", threshold=90)


def test_a_rule_is_added_once_for_each_scope(connection):
    number, _ = rules.add(connection, HOT, EVERYTHING)
    connection.execute("INSERT INTO departments VALUES (1)")
    own, rule = rules.add(connection, HOT, Scope(1))
    assert (own != number, str(rule.scope)) == (True, "dept 1")
    with pytest.raises(UsageError, match=f"a rule hot for all. Change it with: .* set {number}"):
        rules.add(connection, HOT, EVERYTHING)
    assert rules.others(connection, {number}).get(own) == "hot (dept 1)"
    assert number not in rules.others(connection, {number})


def test_a_change_overwrites_only_what_is_given(connection):
    number, _ = rules.add(connection, HOT, EVERYTHING)
    rules.change(connection, "hot", {"threshold": 80.0, "enabled": False})
    changed = stored.rules(connection)[number]
    assert (changed.threshold, changed.enabled, changed.metric) == (80.0, False, "cpu_percent")
    with pytest.raises(UsageError, match="hott"):
        check_rule(connection, "hott")
    check_rule(connection, "hot")


def test_a_maintenance_is_found_by_its_number_and_has_this_machines_time_zone(connection, monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Vienna")
    made = maintenance.plan(
        *(connection, "skip", EVERYTHING, None, None), weekly="Sat-Sun", timezone=None, comment="closed"
    )
    assert (made.timezone, made.weekly, made.comment) == ("Europe/Vienna", "Sat-Sun", "closed")
    assert maintenance.find(connection, made.maintenance_id) == made
    with pytest.raises(UsageError, match="no maintenance 4711"):
        maintenance.find(connection, 4711)


@pytest.fixture
def notifying(config):
    """notifying(receiver) -> the configuration with two targets there; one takes critical alerts only."""

    def make(receiver):
        targets = [
            NotifyTarget(name="admins", url=receiver.url),
            NotifyTarget(name="pager", url=receiver.url, severities=["critical"]),
        ]
        return structs.replace(config, notify=NotifyConfig(targets=targets))

    return make


def test_a_dry_run_says_which_targets_would_be_notified_and_sends_nothing(notifying, config):
    with Receiver() as receiver:
        run = dry_run.dry_run(notifying(receiver), "cpu_high", None, None)
        assert [(row.target, row.notified) for row in run.rows] == [("admins", True), ("pager", False)]
        assert "severity" in run.rows[1].why
        assert receiver.received == []
        lines = []
        assert dry_run.send(notifying(receiver).notify, run, lines.append)
        assert (lines, len(receiver.received)) == (["admins: sent"], 1)
    with pytest.raises(UsageError, match="there are no targets"):
        dry_run.dry_run(config, None, None, None)
    with pytest.raises(UsageError, match="no target 'page'.*pager"):
        dry_run.dry_run(notifying(receiver), None, None, "page")


def test_a_target_that_is_away_is_said_by_its_name(notifying):
    with Receiver(answers=[500]) as receiver:
        settings = notifying(receiver)
        run = dry_run.dry_run(settings, None, None, "pager")
        lines = []
        assert not dry_run.send(settings.notify, run, lines.append)
        assert lines[0].startswith("pager: not sent: ")
