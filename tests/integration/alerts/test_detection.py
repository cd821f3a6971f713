"""The trigger: which readings count, what is told of them, and that nothing in it can fail the insert."""

from datetime import timedelta

import psycopg
import pytest

from labmon.alerts.received import record_alerts
from labmon.messages import OURSELVES, Alert
from tests.integration.alerts.conftest import NOON, minutes


def test_hold_and_hysteresis_in_both_directions(site):
    site.systems(1)
    site.only("hot", clear_threshold=80, hold=minutes(5), clear_hold=minutes(5), note="open a window")
    site.series(1, cpu_percent=[(0, 95.0), (3, 91.0), (4, 96.5)])
    assert (site.states(), site.told()) == (["pending"], [])
    site.series(1, cpu_percent=[(5, 97.25)])
    (fired,) = site.told()
    assert (fired.state, fired.alert_type, fired.rule, fired.note) == (
        "firing",
        "hot",
        "hot",
        "open a window",
    )
    assert (fired.value, fired.threshold, fired.at) == (97.25, 90, NOON + minutes(5))
    site.series(1, cpu_percent=[(6, 85.0), (30, 70.0), (33, 81.0), (34, 70.0), (38, 60.0)])
    assert site.states() == ["firing"]
    site.series(1, cpu_percent=[(39, 60.5)])
    (over,) = site.told()
    assert (over.state, over.value, over.at, over.since) == ("resolved", 60.5, NOON + minutes(39), fired.at)
    assert over.alert_id == fired.alert_id


def test_flapping_within_the_hold_tells_nobody(site):
    site.systems(1)
    site.only("hot", hold=minutes(3), clear_hold=minutes(3))
    site.series(1, cpu_percent=[(n, 95.0 if n % 2 else 5.0) for n in range(61)])
    assert (site.told(), site.incidents()) == ([], [])


def test_several_readings_in_one_batch_are_taken_in_their_order(site):
    site.systems(1)
    site.only("hot", clear_threshold=80)
    points = [(0, 95.0), (1, 85.0), (2, 70.0), (3, 99.0), (4, 10.0), (5, 91.0)]
    site.series(1, cpu_percent=points[::-1])
    assert site.states() == ["resolved", "resolved", "firing"]
    # What was over before anybody could have been told is history, and nothing else.
    assert site.news() == [("firing", "hot", 1)]


def test_late_and_repeated_readings_change_nothing(site):
    site.systems(1)
    site.only("hot")
    site.series(1, cpu_percent=[(10, 5.0)])
    site.series(1, cpu_percent=[(5, 95.0), (10, 95.0)])
    assert site.incidents() == []
    site.series(1, cpu_percent=[(11, 95.0)])
    site.series(1, cpu_percent=[(9, 5.0), (11, 5.0)])
    assert site.states() == ["firing"]


def test_no_data_is_not_resolved(site):
    site.systems(1)
    site.only("hot")
    site.measure(0, cpu_percent=95.0)
    site.measure(1, ram_percent=5.0)
    site.tick(60 * 24)
    assert site.states() == ["firing"]


def test_a_gap_proves_nothing_about_the_time_between(site):
    """Busy when it was switched off, busy when it boots: that is not busy all night."""
    site.systems(1)
    site.only("hot", hold=minutes(15))
    site.series(1, cpu_percent=[(0, 95.0), (14 * 60, 99.0), (14 * 60 + 5, 5.0)])
    assert site.incidents() == []


def test_the_narrowest_rule_of_a_name_counts(site):
    first, second, third, fourth = site.systems(2, lab=3) + site.systems(1) + site.systems(1, dept=2)
    site.only("hot", threshold=90)
    site.another_rule("hot", threshold=50, dept_id=2)
    site.another_rule("hot", threshold=98, lab_id=3)
    site.another_rule("hot", threshold=10, system_id=second, enabled=False)
    everybody = [first, second, third, fourth]
    site.measure(0, everybody, cpu_percent=60.0)
    assert site.news() == [("firing", "hot", fourth)]
    site.measure(1, everybody, cpu_percent=95.0)
    assert site.news() == [("firing", "hot", third)]
    site.measure(2, everybody, cpu_percent=99.0)
    assert site.news() == [("firing", "hot", first)]


def test_a_threshold_means_what_the_reading_was_before_it_was_stored_in_fewer_digits(site):
    site.systems(1)
    site.only("reached", comparison=">=", threshold=90.1)
    site.another_rule("passed", comparison=">", threshold=90.1)
    site.measure(0, cpu_percent=90.1)
    (alert,) = site.told()
    assert (alert.alert_type, alert.value, alert.threshold) == ("reached", 90.1, 90.1)


def test_a_whole_number_may_have_a_limit_that_is_none(site):
    site.systems(1)
    site.only("many", metric="process_count", threshold=80.5)
    site.measure(0, process_count=80)
    site.measure(1, process_count=81)
    assert (site.errors(), site.news()) == ([], [("firing", "many", 1)])


def test_limits_of_both_sides_of_a_metric_are_seen_apart(site):
    site.systems(1)
    site.only("hot", metric="cpu_temperature_celsius", threshold=80)
    site.another_rule("cold", metric="cpu_temperature_celsius", threshold=-5, comparison="<")
    for minute, celsius in enumerate([20.0, -6.0, 81.0, 20.0]):
        site.measure(minute, cpu_temperature_celsius=celsius)
    assert site.news() == [
        ("firing", "cold", 1),
        ("resolved", "cold", 1),
        ("firing", "hot", 1),
        ("resolved", "hot", 1),
    ]


def test_what_stands_and_stays_as_it_is_is_not_written_again(site):
    """Else every batch would pay for every alert."""
    site.systems(3)
    site.only("hot", hold=minutes(1))
    for minute in range(3):
        site.measure(minute, [1, 2, 3], cpu_percent=95.0)
    before = rows_of(site)
    site.measure(3, [1, 2, 3], cpu_percent=96.0)
    assert rows_of(site) == before
    assert site.states() == ["firing"] * 3


def rows_of(site):
    """Which versions of the incidents there are."""
    return site.connection.execute("SELECT ctid::text FROM alert_incidents ORDER BY 1").fetchall()


def test_the_incidents_of_a_removed_rule_stay_without_it(site):
    site.systems(1)
    rule = site.only("hot")
    site.measure(0, cpu_percent=95.0)
    site.connection.execute("DELETE FROM alert_rules WHERE rule_id = %s", [rule])
    (incident,) = site.incidents()
    assert (incident["alert_type"], incident["rule_id"], incident["state"]) == ("hot", None, "resolved")


def test_a_rule_that_is_switched_off_or_moved_ends_its_alerts(site):
    site.systems(1, lab=3)
    site.systems(1)
    rule = site.only("hot")
    site.measure(0, [1, 2], cpu_percent=95.0)
    site.news()
    site.connection.execute("UPDATE alert_rules SET lab_id = 3 WHERE rule_id = %s", [rule])
    assert site.states(system_id=2) == ["resolved"]
    site.connection.execute("UPDATE systems SET lab_id = NULL")
    site.tick(1)
    assert [one.reason for one in site.told()] == ["the rule no longer covers it"] * 2
    site.connection.execute("UPDATE alert_rules SET lab_id = NULL")
    site.measure(1, [1, 2], cpu_percent=95.0)
    site.connection.execute("DELETE FROM alert_rules")
    assert site.states() == ["resolved"] * 4


def test_repeats_come_at_widening_intervals_until_acknowledged(site):
    site.systems(1)
    site.only("hot", repeat_after=minutes(60))
    site.measure(0, cpu_percent=95.0)
    assert site.news() == [("firing", "hot", 1)]
    told = []
    for hour in range(1, 72):
        site.tick(60 * hour)
        told += [(hour, one.repeat) for one in site.told()]
    assert told == [(1, 1), (3, 2), (7, 3), (15, 4), (31, 5), (55, 6)]  # a day at most
    acknowledge(site, minute=60 * 72)
    for hour in range(73, 120):
        site.tick(60 * hour)
    assert site.told() == []
    site.measure(60 * 120, cpu_percent=5.0)
    assert site.news() == [("resolved", "hot", 1)]


def acknowledge(site, minute, comment="seen"):
    return site.connection.execute(
        "SELECT labmon_alerts_acknowledge(ARRAY(SELECT alert_id FROM alert_incidents), 'eva', %s, %s)",
        [comment, NOON + minutes(minute)],
    ).fetchall()


def test_a_replay_judges_and_tells_nothing(site):
    site.systems(1)
    site.only("hot")
    site.connection.execute("SET LOCAL labmon.replay = 'on'")
    site.measure(0, cpu_percent=95.0)
    record_alerts(site.connection, [sent()])
    assert (site.incidents(), site.told()) == ([], [])


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE alert_incidents RENAME TO elsewhere",
        "ALTER TABLE alert_rules RENAME COLUMN threshold TO limit_",
        "ALTER TABLE alert_outbox ADD CHECK (false)",
        "DROP FUNCTION labmon_under_maintenance CASCADE",
    ],
)
def test_an_error_in_the_rules_never_fails_the_insert_and_is_recorded(site, damage):
    site.systems(1)
    site.only("hot")
    site.connection.execute(damage)
    site.measure(0, cpu_percent=95.0)
    site.measure(1, cpu_percent=95.0)
    assert site.connection.execute("SELECT count(*) FROM metrics").fetchone() == (2,)
    ((place, times),) = site.connection.execute("SELECT place, times FROM alert_errors").fetchall()
    assert (place, times) == ("metrics", 2)


def test_when_not_even_the_error_can_be_recorded_the_insert_goes_on(site):
    site.systems(1)
    site.only("hot")
    site.connection.execute(
        "ALTER TABLE alert_errors RENAME TO elsewhere; ALTER TABLE alert_outbox ADD CHECK (false)"
    )
    site.measure(0, cpu_percent=95.0)
    assert site.connection.execute("SELECT count(*) FROM metrics").fetchone() == (1,)


def test_a_metric_that_is_no_column_is_no_error(site):
    site.systems(1)
    site.only("odd", metric="moon_phase")
    site.another_rule("hot")
    site.measure(0, cpu_percent=95.0)
    assert site.news() == [("firing", "hot", 1)]


def test_the_relay_is_woken_once_by_the_transaction_that_changed_something(site, store_url):
    site.systems(20)
    site.only("hot")
    site.connection.commit()
    with psycopg.connect(store_url, autocommit=True) as listener:
        listener.execute("LISTEN labmon_alerts")
        site.measure(0, range(1, 21), cpu_percent=5.0)
        site.connection.commit()
        assert list(listener.notifies(timeout=0.2)) == []
        site.measure(1, range(1, 21), cpu_percent=95.0)
        site.connection.commit()
        assert [one.payload for one in listener.notifies(timeout=5, stop_after=1)] == [""]
        assert list(listener.notifies(timeout=0.2)) == []
    assert len(site.told()) == 20


def sent(**changes):
    fields = {
        "system_id": OURSELVES,
        "alert_type": "host_key_changed",
        "severity": "critical",
        "value": 1,
        "threshold": 0,
    }
    return Alert(**fields | {"at": NOON} | changes)


def test_alerts_from_elsewhere_stand_until_acknowledged_or_ended_by_their_sender(site):
    site.systems(1)
    record_alerts(site.connection, [sent(system_id=1), sent(alert_type="ups_on_battery")])
    record_alerts(site.connection, [sent(system_id=1), sent(system_id=1, at=NOON + minutes(1), value=2)])
    assert sorted((one["alert_type"], one["state"], one["value"]) for one in site.incidents()) == [
        ("host_key_changed", "firing", 2),
        ("ups_on_battery", "firing", 1),
    ]
    site.tick(60 * 24)
    assert site.told() == []  # it came by the queue that we would put it into
    record_alerts(
        site.connection, [sent(alert_type="ups_on_battery", state="resolved", at=NOON + minutes(2))]
    )
    assert len(acknowledge(site, minute=3)) == 1
    assert site.states() == ["resolved", "resolved"]
    (over,) = site.told()
    assert (over.alert_type, over.reason) == ("host_key_changed", "acknowledged by eva")


def test_our_own_alerts_that_come_back_by_the_queue_are_not_taken_for_anothers(site):
    site.systems(1)
    site.only("hot")
    site.measure(0, cpu_percent=95.0)
    record_alerts(site.connection, site.told())
    assert len(site.incidents()) == 1


def test_two_workers_at_once_do_not_fail_each_other(site, store, store_url):
    """Overlapping systems, opposite order, while the tick goes on: no deadlock, no error, nothing twice."""
    from concurrent.futures import ThreadPoolExecutor

    from labmon.messages import Metrics, Readings
    from labmon.store.inventory.systems import hold
    from labmon.store.metrics.record import record_metrics

    site.systems(40)
    site.only("hot", repeat_after=timedelta(milliseconds=1))
    site.connection.commit()

    def work(offset):
        for n in range(20):
            value = 95.0 if n % 4 < 2 else 5.0
            rows = [
                Metrics(
                    system_id=s,
                    collected_at=NOON + timedelta(seconds=10 * n + offset),
                    metrics=Readings(cpu_percent=value),
                )
                for s in range(1, 41)
            ]
            with store.transaction() as connection:
                hold(connection, range(1, 41))
                record_metrics(connection, rows[:: 1 if offset else -1])

    def ticks(_):
        for n in range(40):
            with store.transaction() as connection:
                connection.execute("SELECT labmon_alerts_tick(%s, '{}')", [NOON + timedelta(seconds=n)])

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(work, 0), pool.submit(work, 1), pool.submit(work, 2), pool.submit(ticks, 0)]
        for future in futures:
            future.result()
    assert site.errors() == []
    open_ones = site.connection.execute(
        "SELECT count(*), count(DISTINCT system_id) FROM alert_incidents WHERE resolved_at IS NULL"
    ).fetchone()
    assert open_ones[0] == open_ones[1]
