"""A reading ahead of the clock must not blind the rules for its system, nor for others (findings D8).

In true time, unlike the other tests of the rules: it is about the database's clock.
"""

from datetime import timedelta

import pytest
from psycopg.types.json import Jsonb

from labmon.messages import Metrics, Readings, utcnow
from labmon.store.inventory.states import SystemStates
from labmon.store.metrics.latest import latest
from labmon.store.metrics.record import record_metrics


@pytest.fixture
def measure(site):
    def measure(system, ahead, **readings):
        """One reading, `ahead` seconds in the future."""
        at = utcnow() + timedelta(seconds=ahead)
        one = Metrics(system_id=system, collected_at=at, metrics=Readings(**readings))
        record_metrics(site.connection, [one])
        site.connection.commit()
        assert site.errors() == []

    return measure


def states(alerts):
    return [(one.system_id, one.state) for one in alerts]


@pytest.mark.parametrize("ahead", [5, 1800, 3600])
def test_after_a_reading_that_was_ahead_the_next_true_one_is_judged(site, measure, ahead):
    site.rule()
    (one,) = site.systems(1)
    measure(one, ahead, cpu_percent=5)
    measure(one, 0, cpu_percent=95)
    assert states(site.told()) == [(one, "firing")]
    measure(one, 0, cpu_percent=5)
    assert states(site.told()) == [(one, "resolved")]


def test_what_a_reading_ahead_raised_is_resolved_by_the_next_true_one(site, measure):
    site.rule()
    (one,) = site.systems(1)
    measure(one, 3000, cpu_percent=95)
    (alert,) = site.told()
    assert abs(alert.at - utcnow()) < timedelta(minutes=2)  # when it came, not in the future
    measure(one, 0, cpu_percent=5)
    assert states(site.told()) == [(one, "resolved")]


def test_a_machine_that_is_always_ahead_is_judged_all_the_same(site, measure):
    site.rule()
    (one,) = site.systems(1)
    for ahead, value in ((1800, 5), (1801, 95), (1802, 96), (1803, 5), (1804, 95)):
        measure(one, ahead, cpu_percent=value)
    assert states(site.told()) == [(one, "firing"), (one, "resolved"), (one, "firing")]


@pytest.mark.parametrize("waiting_for", ["fire", "resolve"])
def test_an_alert_that_began_in_the_future_does_not_wait_for_it(site, measure, waiting_for):
    """Left by a labmon that took the reading's time, or by a database whose clock was ahead."""
    site.rule(hold="1 s", clear_hold="1 s")
    (one,) = site.systems(1)
    measure(one, -5, cpu_percent=95)
    if waiting_for == "resolve":
        measure(one, -3, cpu_percent=95)
        measure(one, -2, cpu_percent=5)
        site.told()
    site.connection.execute(
        "UPDATE alert_incidents SET since = now() + '10 years', last_at = now() + '10 years', "
        "clearing_since = CASE WHEN clearing_since IS NOT NULL THEN now() + interval '10 years' END, "
        "fired_at = CASE WHEN fired_at IS NOT NULL THEN now() - interval '1 s' END"
    )
    value = 95 if waiting_for == "fire" else 5
    measure(one, -1, cpu_percent=value)
    measure(one, 0, cpu_percent=value)
    site.connection.execute("SELECT pg_sleep(1.1)")
    site.connection.commit()
    measure(one, 0, cpu_percent=value)
    assert states(site.told()) == [(one, "firing" if waiting_for == "fire" else "resolved")]


def test_one_machine_that_is_ahead_makes_no_other_silent(site, measure):
    site.connection.execute("DELETE FROM alert_rules")
    site.another_rule("silent", kind="no_data", threshold=300)
    site.another_rule("collector", kind="collector_down", threshold=300)
    good, bad = site.systems(2)
    for minute in range(10, 0, -1):
        measure(good, -60 * minute, cpu_percent=5)
    measure(bad, 3600, cpu_percent=5)
    site.connection.execute(
        "UPDATE systems SET last_collected = now() + '10 years' WHERE system_id = %s", [bad]
    )
    site.connection.execute("SELECT labmon_alerts_tick(now(), %s)", [Jsonb({"waiting": 0})])
    assert site.errors() == []
    assert site.told() == []
    # And it hides no collector that is down.
    site.connection.execute(
        "SELECT labmon_alerts_tick(now() + interval '1 hour', %s)", [Jsonb({"waiting": 0})]
    )
    assert [one.alert_type for one in site.told()] == ["collector"]


def test_a_value_that_is_gone_is_counted_once_a_reading_after_one_that_was_ahead(site, measure):
    site.connection.execute("DELETE FROM alert_rules")
    site.another_rule("gpu", kind="gone", metric="gpu_percent", threshold=0, least=2)
    (one,) = site.systems(1)

    def tick():
        site.connection.execute("UPDATE alert_rules SET evaluated_at = NULL")
        site.connection.execute("SELECT labmon_alerts_tick(now(), %s)", [Jsonb({"waiting": 0})])
        site.connection.commit()
        return site.told()

    measure(one, -10, gpu_percent=5)
    assert tick() == []
    measure(one, 1800, cpu_percent=5)  # without the GPU
    assert [tick() for _ in range(3)] == [[]] * 3  # one reading, however often it is looked at
    measure(one, 0, cpu_percent=5)
    assert states(tick()) == [(one, "firing")]


# what was measured counts from when it came


def tick(site, **later):
    site.connection.execute("SELECT labmon_alerts_tick(now() + %s, %s)", [timedelta(**later), Jsonb({})])
    site.connection.commit()
    assert site.errors() == []


def arrived(site, *systems, ago):
    """As if these systems' newest readings had come so many seconds ago."""
    site.connection.execute(
        "UPDATE systems SET measured_at = now() - %s WHERE system_id = ANY(%s)",
        [timedelta(seconds=ago), list(systems)],
    )


@pytest.fixture
def rules(site):
    site.connection.execute("DELETE FROM alert_rules")
    site.another_rule("silent", kind="no_data", threshold=300)
    site.another_rule("collector", kind="collector_down", threshold=300)


@pytest.mark.parametrize("ahead", [0, 2400, 3500])
def test_a_silent_machine_is_noticed_however_far_its_collectors_clock_is_ahead(site, measure, rules, ahead):
    good, bad = site.systems(2)
    for minute in range(20, 9, -1):
        measure(good, ahead - 60 * minute, cpu_percent=5)
        measure(bad, ahead - 60 * minute, cpu_percent=5)
    arrived(site, bad, ago=600)
    measure(good, ahead, cpu_percent=5)
    tick(site)
    assert [(one.alert_type, one.system_id) for one in site.told()] == [("silent", bad)]
    measure(bad, ahead + 1, cpu_percent=5)
    tick(site)
    assert [(one.state, one.system_id) for one in site.told()] == [("resolved", bad)]


@pytest.mark.parametrize("ahead", [0, 2400])
def test_a_collector_that_stands_still_is_noticed_however_far_its_clock_is_ahead(site, measure, rules, ahead):
    one, other = site.systems(2)
    for minute in range(10, -1, -1):
        measure(one, ahead - 60 * minute, cpu_percent=5)
    measure(other, ahead, cpu_percent=5)  # new: it says nothing about how often it is measured
    tick(site)
    assert site.told() == []
    tick(site, minutes=10)
    assert [alert.alert_type for alert in site.told()] == ["collector"]


def test_what_came_long_ago_is_no_longer_fresh_though_it_says_so(site, measure):
    (one,) = site.systems(1)
    measure(one, 2400, cpu_percent=90, logged_in_users=1)
    now = utcnow()
    assert [row.usage for row in latest(site.connection, now)] == ["busy"]
    assert [row.usage for row in SystemStates().read(site.connection, now)] == ["busy"]
    arrived(site, one, ago=1200)
    assert [row.usage for row in latest(site.connection, now)] == [None]
    assert [row.usage for row in SystemStates().read(site.connection, now)] == [None]
