"""What `labmon alerts test` says of a rule, which has to be what would come of it."""

from datetime import timedelta

import pytest

from labmon.alerts.dry_run import example
from labmon.errors import UsageError
from labmon.messages import OURSELVES, utcnow
from labmon.store.inventory import maintenance
from labmon.store.inventory.maintenance import Scope


@pytest.fixture
def made(site):
    """Two machines of department 1 in lab 3, one of department 2 in none."""
    site.systems(2, lab=3)
    site.systems(1, dept=2, network="10.0.1")
    return lambda rule, system=None: example(site.connection, rule, system)


def touched(one):
    return one.departments, one.labs


def test_a_machine_touches_its_own_department_and_lab(made):
    assert touched(made("cpu_high", 1)) == ({1}, {3})
    assert touched(made("cpu_high", 3)) == ({2}, set())
    assert touched(made(None, 3)) == ({2}, set())


def test_without_a_machine_it_is_about_any_within_the_scope_of_the_rule(made, site):
    assert touched(made("cpu_high")) == (None, None)
    assert touched(made("network_down")) == (None, None)
    site.only("hot", lab_id=3)
    assert touched(made("hot")) == ({1}, {3})
    site.only("hot", dept_id=2)
    assert touched(made("hot")) == ({2}, None)
    site.only("hot", system_id=3)
    assert touched(made("hot")) == ({2}, set())


def test_labmon_itself_is_nobodys(made):
    assert (
        touched(made("queue_backlog")) == touched(made("spool_full")) == touched(made(None)) == (set(), set())
    )
    with pytest.raises(UsageError, match="about labmon itself"):
        made("queue_backlog", 1)


def test_many_are_told_of_as_what_they_have_in_common(made):
    one = made("lab_down", 1)
    assert (one.alert.system_id, one.alert.alert_type, one.about.name) == (
        *(OURSELVES, "lab_down:lab 3"),
        "lab 3",
    )
    assert touched(one) == ({1}, {3})
    network = made("network_down", 3)
    assert (network.about.name, touched(network)) == ("10.0.1.0/24", ({2}, set()))
    with pytest.raises(UsageError, match="in no lab"):
        made("lab_down", 3)


def test_of_several_rules_of_a_name_the_one_that_counts_is_meant(made, site):
    site.rule("hot", severity="info")
    narrow = site.another_rule("hot", lab_id=3, severity="critical")
    assert made("hot", 1).alert.severity == "critical"
    assert made("hot", 3).alert.severity == "info"
    assert made(str(narrow), 3).why_not == f"rule {narrow}, of lab 3, does not count for system 3"
    assert made(str(narrow), 1).why_not == ""
    with pytest.raises(UsageError, match="several"):
        made("hot")


def test_who_would_not_be_told_now_is_told_why(made, site):
    site.rule("hot", enabled=False)
    assert "not enabled" in made("hot", 1).why_not
    hours = {"starts_at": utcnow() - timedelta(hours=1), "ends_at": utcnow() + timedelta(hours=1)}
    silence = maintenance.add(site.connection, "silence", Scope(lab_id=3), rule="cpu_high", **hours)
    assert made("cpu_high", 1).why_not == f"silence {silence} of lab 3, mode silence"
    assert made("ram_high", 1).why_not == made("cpu_high", 3).why_not == ""


def test_what_there_is_not_is_named(made):
    for rule, system, named in (("cpu_hgih", None, "cpu_high"), ("cpu_high", 77, "system 77")):
        with pytest.raises(UsageError, match=named):
            made(rule, system)
