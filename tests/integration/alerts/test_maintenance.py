"""When machines are left alone: what is told, and when; and both changes of the clocks."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labmon.errors import UsageError
from labmon.store import maintenance
from labmon.store.maintenance import EVERYTHING, Scope, parse_weekly
from tests.integration.alerts.conftest import NOON, minutes

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "text, hours",
    [
        ("Mon-Tue 18:00-08:00", [(1, "18:00", 1, "08:00"), (2, "18:00", 1, "08:00")]),
        ("sat-sun", [(6, "00:00", 0, "24:00"), (7, "00:00", 0, "24:00")]),
        ("Sun-Mon 9:00-10:30", [(7, "09:00", 0, "10:30"), (1, "09:00", 0, "10:30")]),
        ("Fri 18:00-Mon 7:30", [(5, "18:00", 3, "07:30")]),
        ("Friday 08:00 - 08:00", [(5, "08:00", 1, "08:00")]),
        ("Wed 12:00-13:00, Thu", [(3, "12:00", 0, "13:00"), (4, "00:00", 0, "24:00")]),
    ],
)
def test_weekly_hours_are_written_as_people_say_them(text, hours):
    assert parse_weekly(text) == hours


@pytest.mark.parametrize(
    "text", ["", "18:00-08:00", "Mon-Fri 18-8", "Mon 25:00-26:00", "Mon 24:30-25:00", "Mo;Di"]
)
def test_what_means_no_hours_says_how_to_write_them(text):
    with pytest.raises(UsageError, match="--weekly"):
        parse_weekly(text)


@given(st.text(max_size=30))
def test_nothing_else_comes_of_reading_hours(text):
    try:
        assert all(1 <= day <= 7 and 0 <= days <= 7 for day, _, days, _ in parse_weekly(text))
    except UsageError:
        pass


def weekly(site, text, timezone="Europe/Berlin", mode="skip", scope=EVERYTHING, **more):
    return maintenance.add(site.connection, mode, scope, weekly=text, timezone=timezone, **more)


def stretches(site, first, last):
    return site.connection.execute(
        "SELECT starts_at, ends_at FROM labmon_maintenance_ranges(%s, %s) ORDER BY starts_at", [first, last]
    ).fetchall()


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


def test_a_night_over_each_change_of_the_clocks_is_an_hour_shorter_or_longer(site):
    weekly(site, "Sat 22:00-06:00")
    # In 2026 the clocks go forward on 29 March at 01:00 UTC and back on 25 October at 01:00 UTC.
    assert stretches(site, utc(2026, 3, 28, 12), utc(2026, 3, 29, 12)) == [
        (utc(2026, 3, 28, 21), utc(2026, 3, 29, 4))
    ]
    assert stretches(site, utc(2026, 10, 24, 12), utc(2026, 10, 25, 12)) == [
        (utc(2026, 10, 24, 20), utc(2026, 10, 25, 5))
    ]


def test_hours_that_begin_or_end_within_a_change_are_one_stretch(site):
    weekly(site, "Sat 18:00-02:30, Sun 02:30-04:00")
    night = stretches(site, utc(2026, 10, 24, 12), utc(2026, 10, 25, 12))
    assert night == [
        (utc(2026, 10, 24, 16), utc(2026, 10, 25, 1, 30)),  # of the two 02:30 the second
        (utc(2026, 10, 25, 1, 30), utc(2026, 10, 25, 3)),
    ]
    # 02:30 never comes on 29 March: the clock shows 03:30 when it would have been.
    assert stretches(site, utc(2026, 3, 28, 12), utc(2026, 3, 29, 12)) == [
        (utc(2026, 3, 28, 17), utc(2026, 3, 29, 1, 30)),
        (utc(2026, 3, 29, 1, 30), utc(2026, 3, 29, 2)),
    ]


@pytest.mark.parametrize("day", [utc(2026, 3, 28), utc(2026, 10, 24), utc(2026, 6, 6)])
def test_at_every_quarter_of_an_hour_the_clock_on_the_wall_decides(site, day):
    """Against the other truth, Python's time zones, at times that are on the wall once."""
    weekly(site, "Mon-Sun 22:15-07:45")
    for quarter in range(-8, 56 * 4):
        at = day + timedelta(minutes=15 * quarter)
        wall = at.astimezone(BERLIN).strftime("%H:%M")
        expected = wall >= "22:15" or wall < "07:45"
        assert bool(stretches(site, at, at)) == expected, at


def test_weekly_hours_hold_from_and_until(site):
    weekly(site, "Mon-Sun", starts_at=utc(2026, 3, 2, 10), ends_at=utc(2026, 3, 2, 11))
    (one,) = stretches(site, utc(2026, 3, 1), utc(2026, 3, 5))
    assert one == (utc(2026, 3, 2, 10), utc(2026, 3, 2, 11))


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({}, "--weekly"),
        ({"starts_at": NOON}, "--weekly"),
        ({"starts_at": NOON, "ends_at": NOON}, "before it begins"),
        ({"weekly": "Mon", "timezone": "Mars/Base"}, "Mars/Base"),
        ({"weekly": "Mon"}, "time zone"),
    ],
)
def test_what_cannot_be_meant_is_refused(site, arguments, said):
    with pytest.raises(UsageError, match=said):
        maintenance.add(site.connection, "mute", Scope(), **arguments)


def test_lists_show_what_is_on_and_what_comes_next(site):
    site.systems(1, lab=3)
    weekly(site, "Tue 08:00-09:00", timezone="UTC", scope=Scope(lab_id=3))
    maintenance.add(
        site.connection, "mute", Scope(), starts_at=NOON, ends_at=NOON + minutes(60), comment="move"
    )
    lab, everything = maintenance.maintenances(site.connection, NOON + minutes(1))
    assert (str(lab.scope), lab.active, lab.begins) == ("lab 3", False, utc(2026, 3, 3, 8))
    assert (str(everything.scope), everything.active, everything.until) == ("all", True, NOON + minutes(60))
    assert [one.maintenance_id for one in maintenance.maintenances(site.connection, NOON + minutes(60))] == [
        1
    ]
    assert len(maintenance.maintenances(site.connection, NOON + minutes(60), over=True)) == 2
    assert maintenance.remove(site.connection, 1) and not maintenance.remove(site.connection, 1)


def test_only_systems_of_a_skipping_maintenance_are_skipped(site):
    first, second, third = site.systems(1, lab=3) + site.systems(1, lab=4) + site.systems(1, dept=2)
    hour = {"starts_at": NOON, "ends_at": NOON + minutes(60)}
    maintenance.add(site.connection, "skip", Scope(lab_id=3), **hour)
    maintenance.add(site.connection, "mute", Scope(lab_id=4), **hour)
    weekly(site, "Mon 12:30-13:30", timezone="UTC", scope=Scope(dept_id=2))
    at = [NOON + minutes(n) for n in (-1, 0, 30, 59, 60, 89, 90)]
    assert [maintenance.skipped(site.connection, one) for one in at] == [
        *(set(), {first}, {first, third}, {first, third}),
        *({third}, {third}, set()),
    ]
    assert maintenance.closed(site.connection, NOON + minutes(40)) == {third}


@pytest.mark.parametrize("mode, judged", [("mute", True), ("record", False), ("skip", False)])
def test_what_fired_meanwhile_and_still_stands_is_told_at_the_end(site, mode, judged):
    site.systems(2)
    site.only("hot")
    maintenance.add(site.connection, mode, Scope(), starts_at=NOON, ends_at=NOON + minutes(10))
    site.measure(1, [1, 2], cpu_percent=95.0)
    site.measure(5, [2], cpu_percent=5.0)
    site.tick(9)
    assert site.told() == []
    assert site.states() == (["firing", "resolved"] if judged else [])
    site.measure(10, [1], cpu_percent=95.0)
    site.tick(10)
    (alert,) = site.told()
    assert (alert.system_id, alert.state) == (1, "firing")
    assert alert.reason == ("not told before: maintenance 1" if judged else None)
    site.tick(11)
    assert site.told() == []


def test_the_end_of_what_was_told_before_waits_for_the_end_of_the_maintenance(site):
    site.systems(1)
    site.only("hot")
    maintenance.add(site.connection, "mute", Scope(system_id=1), starts_at=NOON, ends_at=NOON + minutes(10))
    site.measure(-1, cpu_percent=95.0)
    assert site.news() == [("firing", "hot", 1)]
    site.measure(2, cpu_percent=5.0)
    site.tick(9)
    assert site.news() == []
    site.tick(10)
    assert site.news() == [("resolved", "hot", 1)]


def test_a_silence_mutes_one_rule_of_one_lab_for_a_time(site):
    site.systems(1, lab=3)
    site.systems(1, lab=4)
    site.only("hot")
    site.another_rule("crowded", metric="process_count", threshold=10)
    maintenance.add(
        site.connection, "silence", Scope(lab_id=3), rule="hot", starts_at=NOON, ends_at=NOON + minutes(30)
    )
    site.measure(1, [1, 2], cpu_percent=95.0, process_count=99)
    assert sorted(site.news()) == [("firing", "crowded", 1), ("firing", "crowded", 2), ("firing", "hot", 2)]
    assert site.incidents(system_id=1, alert_type="hot")[0]["muted"] == "silence 1"
    site.tick(30)
    assert site.news() == [("firing", "hot", 1)]


def test_a_system_set_to_maintenance_by_hand_is_not_judged(site):
    site.systems(1)
    site.only("hot")
    site.connection.execute("UPDATE systems SET status = 'maintenance'")
    site.measure(1, cpu_percent=95.0)
    assert site.incidents() == []
