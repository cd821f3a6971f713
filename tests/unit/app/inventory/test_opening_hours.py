"""Opening hours are the weekly hours of maintenance, turned round."""

from datetime import UTC, datetime

import pytest

from labmon.app.inventory.opening_hours import opening
from labmon.store.inventory.maintenance import Maintenance


def closure(weekly, timezone="Europe/Berlin", **more):
    values = dict(maintenance_id=1, mode="skip", dept_id=None, lab_id=None, system_id=None, rule=None)
    values |= dict(starts_at=None, ends_at=None, weekly=weekly, timezone=timezone, said_by=None, comment=None)
    return Maintenance(**values | dict(begins=None, until=None, active=False) | more)


WEDNESDAY_NOON = datetime(2026, 7, 1, 10, tzinfo=UTC)  # 12:00 in Berlin


@pytest.mark.parametrize(
    "closed, hours",
    [
        ("Mon-Thu 18:00-08:00, Fri 18:00-Mon 08:00", "Mon-Fri 08:00-18:00"),
        ("Sat-Sun", "Mon-Fri"),
        ("Mon-Sun 02:00-06:00", "Mon-Sun 06:00-02:00"),
        ("Fri 18:00-Mon 07:30", "Mon 07:30-24:00, Tue-Thu, Fri 00:00-18:00"),
        ("Mon 10:00-12:00", "Mon 00:00-10:00, Mon 12:00-24:00, Tue-Sun"),
        ("Mon-Sun", "closed"),
    ],
)
def test_weekly_hours_of_maintenance_turned_round_are_opening_hours(closed, hours):
    assert opening([closure(closed)], WEDNESDAY_NOON).hours == hours


def test_a_lab_without_a_timetable_is_open_and_has_no_hours():
    once = closure(None, None, starts_at=WEDNESDAY_NOON, ends_at=datetime(2026, 7, 2, tzinfo=UTC))
    now = opening([once], WEDNESDAY_NOON)
    assert (now.is_open, now.hours, now.changes_at) == (True, "", None)


def test_an_open_lab_says_when_it_closes():
    now = opening([closure("Mon-Sun 18:00-08:00")], WEDNESDAY_NOON)
    assert now.is_open
    assert now.changes_at == datetime(2026, 7, 1, 16, tzinfo=UTC)


def test_a_closed_lab_says_when_it_opens_after_the_weekend():
    now = opening([closure("Fri 18:00-Mon 07:30")], datetime(2026, 7, 4, 12, tzinfo=UTC))
    assert not now.is_open
    assert now.changes_at == datetime(2026, 7, 6, 5, 30, tzinfo=UTC)


def test_the_hour_of_opening_follows_the_clock_on_the_wall_when_the_clocks_change():
    saturday = datetime(2026, 10, 24, 12, tzinfo=UTC)  # the clocks go back in the night to Sunday
    now = opening([closure("Fri 18:00-Mon 07:30")], saturday)
    assert now.changes_at == datetime(2026, 10, 26, 6, 30, tzinfo=UTC)


def test_a_lab_that_never_opens_has_no_next_opening():
    now = opening([closure("Mon-Sun")], WEDNESDAY_NOON)
    assert (now.is_open, now.hours, now.changes_at) == (False, "closed", None)


def test_hours_of_several_maintenances_add_up():
    both = [closure("Sat-Sun"), closure("Mon-Fri 00:00-08:00"), closure("Mon-Fri 20:00-24:00")]
    assert opening(both, WEDNESDAY_NOON).hours == "Mon-Fri 08:00-20:00"


def test_hours_of_another_time_zone_are_moved():
    both = [closure("Mon-Sun 00:00-08:00"), closure("Mon-Sun 18:00-22:00", "UTC")]
    assert opening(both, WEDNESDAY_NOON).hours == "Mon-Sun 08:00-20:00"


def test_hours_that_hold_no_more_close_nothing():
    over = closure("Mon-Sun", ends_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert opening([over], WEDNESDAY_NOON).hours == ""
