"""What no reading triggers: silence, trends, changes, queues."""

from datetime import timedelta

import pytest

from labmon.messages import OURSELVES
from labmon.store import spools
from labmon.store.inventory import maintenance
from labmon.store.inventory.maintenance import Scope
from labmon.store.metrics import partitions
from tests.integration.alerts.conftest import NOON, minutes
from tests.integration.alerts.test_detection import acknowledge


def no_data(site, **columns):
    return site.another_rule("no_data", kind="no_data", threshold=600, **columns)


def test_a_system_that_is_silent_while_others_are_measured(quiet):
    first, second = quiet.systems(2)
    no_data(quiet, hold=minutes(2))
    quiet.watch(0, 10, [first, second])
    quiet.watch(11, 22, [first])
    assert quiet.told() == []
    quiet.watch(23, 23, [first])
    (alert,) = quiet.told()
    assert (alert.alert_type, alert.system_id, alert.state) == ("no_data", second, "firing")
    assert alert.value == pytest.approx(13 * 60) and alert.at == NOON + minutes(23)
    quiet.watch(24, 24, [first, second])
    assert quiet.news() == [("resolved", "no_data", second)]


@pytest.mark.parametrize(
    "hours_off, told",
    [
        ([], True),
        ([60], True),  # the collector stood still for an hour
        ([60, 61], False),
        ([*range(10, 20), *range(34, 44), *range(58, 68)], False),
        (range(30, 400), False),  # it is new
    ],
)
def test_only_who_was_on_day_and_night_is_missed_by_the_usual_rule(quiet, hours_off, told):
    first, second = quiet.systems(2)
    no_data(quiet, steady=timedelta(days=7))
    summed_up(quiet, second, [hour for hour in range(1, 200) if hour not in hours_off])
    quiet.watch(0, 10, [first, second])
    quiet.watch(11, 22, [first])
    assert quiet.news() == ([("firing", "no_data", second)] if told else [])
    quiet.watch(23, 24, [first, second])
    assert quiet.news() == ([("resolved", "no_data", second)] if told else [])


def summed_up(site, system, hours):
    """It was measured in these, by how many hours ago they began."""
    buckets = [NOON - timedelta(hours=hour) for hour in hours]
    partitions.make(site.connection, "metrics_1h", {bucket.date() for bucket in buckets})
    with site.connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO metrics_1h (system_id, bucket, readings) VALUES (%s, %s, 60)",
            [(system, bucket) for bucket in buckets],
        )


def test_nobody_is_silent_because_labmon_itself_stands_still(quiet):
    """Nobody is measured, then readings of three hours come out of the queue at once."""
    everybody = quiet.systems(3)
    no_data(quiet)
    quiet.watch(0, 10, everybody)
    quiet.watch(11, 180, [])
    for minute in range(11, 181):
        quiet.measure(minute, everybody)
        quiet.tick(180)
    assert (quiet.told(), quiet.incidents()) == ([], [])


def test_who_is_measured_by_hand_now_and_then_is_never_silent(quiet):
    first, second, third = quiet.systems(3)
    no_data(quiet)
    quiet.watch(0, 1, [first, second])
    quiet.watch(2, 240, [first, third])
    assert quiet.told() == []


def test_who_is_measured_every_hour_is_silent_after_more_than_three(quiet):
    first, second = quiet.systems(2)
    no_data(quiet)
    for hour in range(6):
        quiet.measure(60 * hour, [first, second])
        quiet.tick(60 * hour)
    for hour in range(6, 10):
        quiet.measure(60 * hour, [first])
        quiet.tick(60 * hour)
        assert quiet.news() == ([("firing", "no_data", second)] if hour == 9 else [])


def test_a_closed_lab_is_off_and_not_down_and_has_time_to_come_up(quiet):
    first, second = quiet.systems(1, lab=3) + quiet.systems(1)
    no_data(quiet)
    maintenance.add(quiet.connection, "skip", Scope(lab_id=3), weekly="Mon 13:00-14:00", timezone="UTC")
    quiet.watch(0, 59, [first, second])
    quiet.watch(60, 127, [second])
    assert quiet.incidents() == []
    quiet.watch(128, 131, [second])
    assert quiet.news() == [("firing", "no_data", first)]  # ten minutes after it opened


def test_a_system_in_maintenance_by_hand_is_never_silent(quiet):
    first, second = quiet.systems(2)
    no_data(quiet)
    quiet.watch(0, 10, [first, second])
    quiet.connection.execute("UPDATE systems SET status = 'maintenance' WHERE system_id = %s", [second])
    quiet.watch(11, 60, [first])
    assert quiet.incidents() == []


def test_down_before_the_lab_closed_is_still_down_when_it_opens(quiet):
    first, second = quiet.systems(1, lab=3) + quiet.systems(1)
    no_data(quiet)
    quiet.watch(0, 10, [first, second])
    quiet.watch(11, 30, [second])
    assert quiet.news() == [("firing", "no_data", first)]
    maintenance.add(quiet.connection, "skip", Scope(lab_id=3), weekly="Mon 13:00-14:00", timezone="UTC")
    quiet.watch(31, 200, [second])
    assert (quiet.states(), quiet.told()) == (["firing"], [])
    quiet.watch(201, 201, [first, second])
    assert quiet.states() == ["resolved"]


def test_a_silent_host_mutes_its_own_alerts(quiet):
    first, second = quiet.systems(2)
    no_data(quiet)
    quiet.another_rule("hot", repeat_after=minutes(30))
    quiet.watch(0, 10, [first])
    quiet.watch(0, 10, [second], cpu_percent=95.0)
    assert quiet.news() == [("firing", "hot", second)]
    quiet.watch(11, 100, [first])
    assert quiet.news() == [("firing", "no_data", second)]  # and no repeat of the other
    quiet.measure(101, [second], cpu_percent=95.0)
    quiet.tick(101)
    assert sorted(quiet.news()) == [("firing", "hot", second), ("resolved", "no_data", second)]


def test_readings_that_wait_in_the_queue_are_no_collector_that_is_down(quiet):
    everybody = quiet.systems(3)
    quiet.another_rule("collector_down", kind="collector_down", threshold=600)
    quiet.watch(0, 10, everybody)
    for minute in range(11, 60):
        quiet.tick(minute, waiting=500)
    assert quiet.incidents() == []


def test_a_campus_that_is_closed_needs_no_collector(quiet):
    everybody = quiet.systems(3, lab=3)
    quiet.another_rule("collector_down", kind="collector_down", threshold=600)
    maintenance.add(quiet.connection, "skip", Scope(lab_id=3), weekly="Mon 13:00-Tue 08:00", timezone="UTC")
    quiet.watch(0, 59, everybody)
    for minute in range(60, 60 * 20 + 9, 7):
        quiet.tick(minute)
    assert quiet.incidents() == []


def test_a_disk_that_will_be_full_by_its_trend(quiet):
    first, second, third = quiet.systems(3)
    quiet.another_rule(
        "filling",
        kind="rate",
        metric="disk_percent",
        comparison="<",
        threshold=24,
        clear_threshold=48,
        span=minutes(360),
    )
    for minute in range(0, 361, 5):
        quiet.measure(minute, [first], disk_percent=50 + minute / 60)  # 100 after 50 h
        quiet.measure(minute, [second], disk_percent=70 + minute / 30)  # 100 after 15 h
        quiet.measure(minute, [third], disk_percent=99 + (minute % 2) / 10)  # flat
    quiet.tick(361)
    (alert,) = quiet.told()
    assert (alert.alert_type, alert.system_id) == ("filling", second)
    assert alert.value == pytest.approx(9, abs=0.1)
    for minute in range(365, 800, 5):
        quiet.measure(minute, [second], disk_percent=82.0)
    quiet.tick(800)
    assert quiet.news() == [("resolved", "filling", second)]


def test_of_two_limits_of_a_metric_the_worse_is_told_and_the_other_when_it_is_all_that_is_left(quiet):
    first, second, third = quiet.systems(3)
    quiet.another_rule("high", metric="disk_percent", threshold=90, clear_threshold=85)
    quiet.another_rule("full", metric="disk_percent", threshold=97, clear_threshold=95, severity="critical")
    quiet.another_rule("empty", metric="disk_percent", comparison="<", threshold=99, severity="info")
    quiet.measure(0, [first], disk_percent=99.5)
    assert quiet.news() == [("firing", "full", first)]
    quiet.measure(0, [second], disk_percent=93.0)
    assert sorted(quiet.news()) == [("firing", "empty", second), ("firing", "high", second)]
    quiet.measure(1, [second], disk_percent=99.5)
    quiet.tick(2)
    assert sorted(quiet.news()) == [("firing", "full", second), ("resolved", "empty", second)]
    quiet.measure(3, [first, second], disk_percent=94.0)
    quiet.tick(4)
    told = {(one.state, one.alert_type, one.system_id): one.reason for one in quiet.told()}
    assert told == {
        ("resolved", "full", first): None,
        ("resolved", "full", second): None,
        ("firing", "high", first): "held until now: under full",
        ("firing", "empty", first): None,
        ("firing", "empty", second): None,
    }
    quiet.measure(5, [third], disk_percent=80.0)
    assert quiet.news() == [("firing", "empty", third)]


def test_too_few_readings_make_no_trend(quiet):
    (one,) = quiet.systems(1)
    quiet.another_rule(
        "filling", kind="rate", metric="disk_percent", comparison="<", threshold=24, span=minutes(360)
    )
    for minute in range(10):
        quiet.measure(minute, [one], disk_percent=50.0 + 4 * minute)
    quiet.tick(10)
    assert quiet.incidents() == []


def test_memory_that_was_taken_out_stands_until_acknowledged(quiet):
    first, second = quiet.systems(2)
    quiet.another_rule("ram_changed", kind="changed", metric="ram_total_bytes", threshold=5)
    quiet.watch(0, 3, [first, second], ram_total_bytes=16 * 2**30)
    quiet.watch(4, 5, [first], ram_total_bytes=16 * 2**30 - 2**25)  # the kernel took some
    quiet.watch(6, 7, [second], ram_total_bytes=8 * 2**30)
    (alert,) = quiet.told()
    assert alert.system_id == second  # six digits are enough to know it by
    assert (alert.value, alert.threshold) == pytest.approx((8 * 2**30, 16 * 2**30), rel=1e-6)
    quiet.watch(8, 20, [first, second], ram_total_bytes=16 * 2**30)
    assert quiet.states() == ["firing"]
    quiet.watch(21, 22, [second], ram_total_bytes=8 * 2**30)
    acknowledge(quiet, 23)
    (over,) = quiet.told()
    assert (over.state, over.reason) == ("resolved", "acknowledged by eva")
    quiet.watch(24, 26, [second], ram_total_bytes=8 * 2**30)
    assert quiet.told() == []  # what it is now is what it should be
    quiet.watch(27, 28, [second], ram_total_bytes=16 * 2**30)
    assert quiet.news() == [("firing", "ram_changed", second)]


TERABYTE = 10**12


def test_a_disk_that_was_taken_out_stands_until_acknowledged(site):
    """By the rule of a fresh database; others would tell of a machine of which only this is known."""
    site.connection.execute("DELETE FROM alert_rules WHERE name <> 'disk_changed'")
    first, second, third = site.systems(3)
    site.watch(0, 1, [first, second, third], disk_total_bytes=TERABYTE)
    site.watch(2, 3, [first], disk_total_bytes=TERABYTE - TERABYTE // 250)  # whole cylinders
    site.watch(4, 5, [first], disk_total_bytes=TERABYTE)
    site.watch(6, 9, [third], cpu_percent=5.0)  # its probe says no more of it
    assert site.told() == []
    site.watch(10, 11, [second], disk_total_bytes=TERABYTE // 2)
    (alert,) = site.told()
    assert (alert.alert_type, alert.system_id, alert.severity) == ("disk_changed", second, "critical")
    assert (alert.value, alert.threshold) == pytest.approx((TERABYTE / 2, TERABYTE), rel=1e-6)
    site.watch(12, 13, [third], disk_total_bytes=TERABYTE)  # and again it does
    site.watch(14, 20, [second], disk_total_bytes=TERABYTE)
    assert site.states() == ["firing"]
    acknowledge(site, 21)
    assert site.news() == [("resolved", "disk_changed", second)]
    site.watch(22, 25, [first, second, third], disk_total_bytes=TERABYTE)
    assert site.told() == []


def test_the_only_disk_of_a_machine_and_the_first_of_one_without(site):
    site.connection.execute("DELETE FROM alert_rules WHERE name <> 'disk_changed'")
    one, diskless, never = site.systems(3)
    site.watch(0, 1, [one], disk_total_bytes=TERABYTE)
    site.watch(0, 3, [diskless], disk_total_bytes=0)
    site.watch(0, 3, [never], cpu_percent=5.0)
    site.watch(4, 5, [one], disk_total_bytes=0)
    assert site.news() == [("firing", "disk_changed", one)]
    acknowledge(site, 6)
    site.watch(7, 8, [one, diskless], disk_total_bytes=0)
    assert site.news() == [("resolved", "disk_changed", one)]
    site.watch(9, 10, [one, diskless], disk_total_bytes=TERABYTE)
    assert site.news() == []  # 0 bytes are no baseline: they are what could not be read
    site.watch(11, 12, [one, diskless], disk_total_bytes=TERABYTE // 2)
    assert sorted(site.news()) == [("firing", "disk_changed", one), ("firing", "disk_changed", diskless)]


@pytest.mark.parametrize("metric", ["disk_total_bytes", "ram_total_bytes"])
def test_a_size_of_0_that_an_earlier_version_took_for_what_was_there_is_replaced(site, metric):
    rule = metric.split("_")[0] + "_changed"
    site.connection.execute("DELETE FROM alert_rules WHERE name <> %s", [rule])
    (one,) = site.systems(1)
    site.watch(0, 1, [one], **{metric: TERABYTE})
    site.connection.execute("UPDATE alert_baselines SET value = 0")
    site.watch(2, 3, [one], cpu_percent=5.0)
    site.watch(4, 5, [one], **{metric: TERABYTE})
    assert (site.told(), site.errors()) == ([], [])
    site.watch(6, 7, [one], **{metric: TERABYTE // 2})
    (alert,) = site.told()
    assert (alert.alert_type, alert.threshold) == (rule, pytest.approx(TERABYTE, rel=1e-6))


def test_the_smallest_of_two_dozen_disks_is_missed(site):
    site.connection.execute("DELETE FROM alert_rules WHERE name <> 'disk_changed'")
    (one,) = site.systems(1)
    site.watch(0, 1, [one], disk_total_bytes=23 * TERABYTE + TERABYTE // 4)
    site.watch(2, 3, [one], disk_total_bytes=23 * TERABYTE)
    assert site.news() == [("firing", "disk_changed", one)]


def test_more_than_a_petabyte_can_be_told(site):
    site.connection.execute("DELETE FROM alert_rules WHERE name <> 'disk_changed'")
    (one,) = site.systems(1)
    site.watch(0, 1, [one], disk_total_bytes=2**62)
    site.watch(2, 3, [one], disk_total_bytes=2**61)
    assert [alert.value for alert in site.told()] == pytest.approx([2**61], rel=1e-6)


# findings A7: one of three GPUs lost, nothing tells
def test_one_gpu_of_three_that_is_lost_fires_once_and_stands_until_acknowledged(site):
    """By the rule of a fresh database; others would tell of a machine of which only this is known."""
    site.connection.execute("DELETE FROM alert_rules WHERE name <> 'gpu_changed'")
    first, second = site.systems(2)
    site.watch(0, 1, [first, second], gpu_count=3)
    site.watch(2, 5, [second], gpu_count=2)
    (alert,) = site.told()
    assert (alert.alert_type, alert.system_id, alert.severity) == ("gpu_changed", second, "critical")
    assert (alert.value, alert.threshold) == (2, 3)
    site.watch(6, 9, [first, second], gpu_count=3)  # it comes back
    assert (site.states(), site.told()) == (["firing"], [])
    acknowledge(site, 10)
    assert site.news() == [("resolved", "gpu_changed", second)]
    site.watch(11, 14, [first, second], gpu_count=3)
    assert site.told() == []
    site.watch(15, 16, [second], gpu_count=2)
    assert site.news() == [("firing", "gpu_changed", second)]
    acknowledge(site, 17)
    site.watch(18, 20, [second], gpu_count=2)  # what it is now is what it should be
    assert site.news() == [("resolved", "gpu_changed", second)]


# findings A7
@pytest.mark.parametrize("before, after", [(1, 0), (64, 63), (2, 4), (0, 1)])
def test_any_other_number_of_gpus_is_a_change(site, before, after):
    site.connection.execute("DELETE FROM alert_rules WHERE name <> 'gpu_changed'")
    (one,) = site.systems(1)
    site.watch(0, 1, [one], gpu_count=before)
    site.watch(2, 3, [one], gpu_count=after)
    assert [(alert.value, alert.threshold) for alert in site.told()] == [(after, before)]


# findings A7
def test_no_gpu_and_no_driver_and_a_driver_that_hangs_are_no_change(site):
    site.connection.execute("DELETE FROM alert_rules WHERE name <> 'gpu_changed'")
    without, no_driver, hangs = site.systems(3)
    site.watch(0, 9, [without], gpu_count=0)
    site.watch(0, 9, [no_driver], cpu_percent=5.0)
    site.watch(0, 2, [hangs], cpu_percent=5.0, gpu_count=3)
    site.watch(3, 6, [hangs], cpu_percent=5.0)
    site.watch(7, 9, [hangs], cpu_percent=5.0, gpu_count=3)
    assert (site.told(), site.errors()) == ([], [])


def test_a_gpu_that_is_gone_in_three_readings(quiet):
    first, second = quiet.systems(2)
    quiet.another_rule("gpu_gone", kind="gone", metric="gpu_percent")
    quiet.watch(0, 2, [first, second], cpu_percent=5.0, gpu_percent=40.0)
    quiet.watch(3, 4, [first, second], cpu_percent=5.0)
    quiet.watch(5, 9, [first], cpu_percent=5.0, gpu_percent=0.0)
    assert quiet.told() == []
    quiet.watch(5, 5, [second], cpu_percent=5.0)
    assert quiet.news() == [("firing", "gpu_gone", second)]
    acknowledge(quiet, 6)
    quiet.watch(7, 20, [first, second], cpu_percent=5.0)
    assert quiet.news() == [("resolved", "gpu_gone", second), ("firing", "gpu_gone", first)]


def test_all_gpus_that_stop_are_one_alert_and_one_of_several_is_another(site):
    """By the rules of a fresh database: gpu_gone covers gpu_changed, for as long as nothing is left."""
    site.connection.execute("DELETE FROM alert_rules WHERE name NOT IN ('gpu_gone', 'gpu_changed')")
    all_stop, one_stops = site.systems(2)
    site.watch(0, 2, [all_stop, one_stops], gpu_count=3, gpu_percent=40.0)
    site.watch(3, 9, [all_stop], gpu_count=0)
    site.watch(3, 9, [one_stops], gpu_count=2, gpu_percent=40.0)
    assert sorted(site.news()) == [("firing", "gpu_changed", one_stops), ("firing", "gpu_gone", all_stop)]
    acknowledge(site, 10)
    site.watch(11, 20, [all_stop], gpu_count=0)
    site.watch(11, 20, [one_stops], gpu_count=2, gpu_percent=40.0)
    assert {state for state, _, _ in site.news()} == {"resolved"}
    site.watch(21, 22, [all_stop], gpu_count=3, gpu_percent=40.0)  # put in again
    assert site.news() == [("firing", "gpu_changed", all_stop)]
    assert site.errors() == []


@pytest.mark.parametrize(
    "without", ["UPDATE alert_rules SET enabled = false WHERE name = 'gpu_gone'", "SELECT 1"]
)
def test_where_no_rule_can_see_that_a_gpu_is_gone_its_count_says_so(site, without):
    site.connection.execute("DELETE FROM alert_rules WHERE name NOT IN ('gpu_gone', 'gpu_changed')")
    site.connection.execute(without)
    (one,) = site.systems(1)
    busy = {} if without == "SELECT 1" else {"gpu_percent": 40.0}  # a driver that says no percentage
    site.watch(0, 2, [one], gpu_count=1, **busy)
    site.watch(3, 9, [one], gpu_count=0)
    assert site.news() == [("firing", "gpu_changed", one)]


def test_a_queue_and_a_spool_that_fill(quiet):
    quiet.another_rule(
        "queue_backlog", kind="queue_backlog", threshold=10000, clear_threshold=1000, hold=minutes(5)
    )
    quiet.another_rule("spool_full", kind="spool_full", threshold=80)
    for minute in range(7):
        quiet.tick(minute, queue_backlog={"metrics_queue": 20000, "alert_queue": 3}, spool_full={"": 12})
    (alert,) = quiet.told()
    assert (alert.alert_type, alert.subject, alert.value) == (
        "queue_backlog:metrics_queue",
        "metrics_queue",
        20000,
    )
    quiet.tick(8, queue_backlog={"metrics_queue": 5000, "alert_queue": 3}, spool_full={"": 90})
    assert quiet.news() == [("firing", "spool_full", OURSELVES)]
    quiet.tick(9, queue_backlog={"metrics_queue": 900})
    assert quiet.news() == [("resolved", "queue_backlog:metrics_queue", OURSELVES)]


def test_the_fullest_spool_of_each_machine_counts_until_it_is_not_heard_of_for_a_day(quiet):
    quiet.another_rule("spool_full", kind="spool_full", threshold=80)

    def look(minute):
        quiet.tick(minute, spool_full=spools.fills(quiet.connection, NOON + minutes(minute)))

    def report(minute, percent, host="collector", file="/var/lib/labmon/spool.db"):
        spools.record(quiet.connection, host, file, percent, NOON + minutes(minute))

    report(0, 90)
    report(0, 0, file="/home/admin/.local/state/labmon/spool.db")
    report(0, 10, host="server")
    look(1)
    (alert,) = quiet.told()
    assert (alert.subject, alert.value, alert.system_id) == ("collector", 90, OURSELVES)
    look(60 * 24)
    assert quiet.told() == []
    report(60 * 24, 10, host="server")
    look(60 * 24 + 1)
    (over,) = quiet.told()
    assert (over.state, over.reason) == ("resolved", "the machine has not been heard of for a day")
    report(60 * 24 + 2, 85)
    look(60 * 24 + 3)
    report(60 * 24 + 4, 0)
    look(60 * 24 + 5)
    states = ["firing", "resolved"]
    assert quiet.news() == [(state, "spool_full:collector", OURSELVES) for state in states]


def test_a_tick_that_fails_in_one_part_goes_on_with_the_others(quiet):
    (one,) = quiet.systems(1)
    quiet.another_rule("filling", kind="rate", metric="no_such_metric", threshold=24, span=minutes(60))
    quiet.another_rule("spool_full", kind="spool_full", threshold=80)
    quiet.another_rule("gpu_gone", kind="gone", metric="gpu_percent")
    quiet.measure(0, [one], gpu_percent=4.0)
    quiet.connection.execute(
        'SELECT labmon_alerts_tick(%s, \'{"spool_full": {"": 90}}\')', [NOON + minutes(1)]
    )
    assert [place for place, _ in quiet.errors()] == ["rate"]
    assert quiet.news() == [("firing", "spool_full", OURSELVES)]
    assert quiet.connection.execute("SELECT count(*) FROM alert_baselines").fetchone() == (1,)


def test_the_rules_of_a_fresh_database_are_silent_about_a_healthy_lab(site):
    everybody = site.systems(6, lab=1)
    site.watch(0, 30, everybody, cpu_percent=40.0, ram_percent=60.0, disk_percent=55.0, swap_percent=1.0)
    assert site.told() == []


def test_the_rules_of_a_fresh_database_know_a_full_disk(site):
    site.systems(1)
    site.watch(0, 10, [1], disk_percent=98.0)
    assert [(one.alert_type, one.severity) for one in site.told()] == [("disk_full", "critical")]
    assert sorted(site.states()) == ["firing", "firing"]
    site.watch(11, 16, [1], disk_percent=93.0)
    assert site.news() == [("resolved", "disk_full", 1), ("firing", "disk_high", 1)]
