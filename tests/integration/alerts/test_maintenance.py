"""When machines are left alone: what is told, and when; and both changes of the clocks."""

import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labmon.errors import UsageError
from labmon.store.inventory import maintenance, zones
from labmon.store.inventory.maintenance import EVERYTHING, Scope, parse_weekly
from tests.integration.alerts.conftest import NOON, minutes

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "text, hours",
    [
        ("Mon-Tue 18:00-08:00", [(1, "18:00", 1, "08:00"), (2, "18:00", 1, "08:00")]),
        ("sat-sun", [(6, "00:00", 0, "24:00"), (7, "00:00", 0, "24:00")]),
        ("Sun-Mon 9:00-10:30", [(7, "09:00", 0, "10:30"), (1, "09:00", 0, "10:30")]),
        ("Fri 18:00-Mon 7:30", [(5, "18:00", 3, "07:30")]),
        ("Friday 08:00 - 07:59", [(5, "08:00", 1, "07:59")]),
        ("Wed 12:00-13:00, Thu", [(3, "12:00", 0, "13:00"), (4, "00:00", 0, "24:00")]),
    ],
)
def test_weekly_hours_are_written_as_people_say_them(text, hours):
    assert parse_weekly(text) == hours


@pytest.mark.parametrize(
    "text",
    ["", "18:00-08:00", "Mon-Fri 18-8", "Mon 25:00-26:00", "Mon 24:30-25:00", "Mo;Di", "Fri 8:00-8:00"],
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


# findings D10
def test_hours_that_begin_or_end_within_an_hour_that_comes_twice_are_on_both_times(site):
    weekly(site, "Sat 18:00-02:30, Sun 02:30-04:00")
    night = stretches(site, utc(2026, 10, 24, 12), utc(2026, 10, 25, 12))
    assert night == [
        (utc(2026, 10, 24, 16), utc(2026, 10, 25, 0, 30)),
        (utc(2026, 10, 25, 0, 30), utc(2026, 10, 25, 1)),
        (utc(2026, 10, 25, 1), utc(2026, 10, 25, 1, 30)),
        (utc(2026, 10, 25, 1, 30), utc(2026, 10, 25, 3)),
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


CHANGES = [
    ("Europe/Berlin", utc(2026, 3, 29, 1)),
    ("Europe/Berlin", utc(2026, 10, 25, 1)),
    ("America/Havana", utc(2026, 3, 8, 5)),  # at midnight
    ("America/Havana", utc(2026, 11, 1, 5)),
    ("Africa/Cairo", utc(2026, 4, 23, 22)),
    ("America/Santiago", utc(2026, 9, 6, 4)),
    ("Asia/Beirut", utc(2026, 3, 28, 22)),
    ("Australia/Lord_Howe", utc(2026, 4, 4, 15)),  # by half an hour
    ("Africa/Casablanca", utc(2026, 2, 15, 2)),
    ("Pacific/Apia", utc(2011, 12, 30, 10)),  # a day that never was
]


def other_changes(number):
    """Changes of the clocks from 2015 to 2037 in zones picked at random."""
    dice = random.Random(7)
    found = []
    while len(found) < number:
        name = dice.choice(sorted(available_timezones() - set(zones.REGIONS) - {"localtime", "posixrules"}))
        zone, year = ZoneInfo(name), dice.randint(2015, 2037)
        hours = [utc(year, 1, 1) + timedelta(hours=n) for n in range(365 * 24)]
        offsets = [at.astimezone(zone).utcoffset() for at in hours]
        found += [
            (name, at)
            for at, one, other in zip(hours[1:], offsets, offsets[1:], strict=False)
            if one != other
        ]
    return found[:number]


# findings E6, D10
@pytest.mark.parametrize("zone, change", CHANGES + other_changes(20))
def test_at_every_minute_around_a_change_the_clock_on_the_wall_decides(site, zone, change):
    """Against Python's time zones. The hours begin and end within what is skipped or comes twice."""
    first, minute = change - timedelta(hours=30), timedelta(minutes=1)
    moments = [first + number * minute for number in range(60 * 60)]
    walls = [at.astimezone(ZoneInfo(zone)) for at in moments]
    for begins, ends in (("02:15", "02:45"), ("02:30", "03:30"), ("00:00", "24:00"), ("23:45", "00:30")):
        site.connection.execute("DELETE FROM maintenance")
        day = walls[30 * 60].strftime("%a")
        site.connection.execute(
            "WITH made AS (INSERT INTO maintenance (mode, weekly, timezone) VALUES ('skip', 'x', %s) "
            "RETURNING maintenance_id) INSERT INTO maintenance_hours SELECT maintenance_id, n, %s, %s, %s "
            "FROM made, generate_series(1, 7) AS n WHERE n = %s OR %s > 0",
            [zone, begins, int(ends < begins), ends, walls[30 * 60].isoweekday(), int(ends < begins)],
        )
        found = stretches(site, moments[0], moments[-1])
        on = [any(start <= at < end for start, end in found) for at in moments]
        assert on == [
            (begins <= wall.strftime("%H:%M") or wall.strftime("%H:%M") < ends)
            if ends < begins
            else (wall.strftime("%a") == day and begins <= wall.strftime("%H:%M") < ends)
            for wall in walls
        ], (begins, ends)


# findings E1
@pytest.mark.parametrize("name", ["CET", "MET", "EET", "WET"])
def test_zones_that_the_server_takes_for_abbreviations_have_a_summer(site, name):
    weekly(site, "Mon-Sun 12:00-13:00", timezone=name)
    (one,) = stretches(site, utc(2026, 7, 1), utc(2026, 7, 1, 23))
    assert one[0].astimezone(ZoneInfo(name)).hour == 12


# findings E1
@pytest.mark.parametrize("name", ["localtime", "posixrules", "Mars/Base", "", None])
def test_zones_that_the_server_does_not_know_the_same_way_are_refused(site, name):
    with pytest.raises(UsageError, match="Europe/Berlin"):
        weekly(site, "Mon-Sun", timezone=name)


# findings E1
def test_every_zone_is_taken_with_the_rules_of_this_machine_or_refused(site):
    taken = 0
    for name in random.Random(3).sample(sorted(available_timezones()), 60):
        try:
            resolved = zones.resolve(site.connection, name)
        except UsageError:
            continue
        summer = site.connection.execute("SELECT '2026-07-01Z'::timestamptz AT TIME ZONE %s", [resolved])
        assert summer.fetchone()[0] == utc(2026, 7, 1).astimezone(ZoneInfo(name)).replace(tzinfo=None)
        taken += 1
    assert taken > 50


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
    assert alert.reason == ("held until now: maintenance 1" if judged else None)
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
