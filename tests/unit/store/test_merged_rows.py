"""What the one system has of each after a merge."""

from labmon.store.inventory.life.merge import PLACE, _together

EARLY, LATE = "2026-03-01T08:00:00+00:00", "2026-03-01T12:00:00+00:00"
NOTHING = dict.fromkeys(PLACE) | {"dept_id": 1, "status": "discovered", "first_seen": EARLY}


def row(**values):
    return NOTHING | values


def test_its_place_is_that_of_whichever_was_seen_last_and_gaps_are_filled():
    one = row(last_seen=EARLY, ip_address="10.0.0.1", mac_address="a", hostname="pc-1")
    other = row(last_seen=EARLY, last_collected=LATE, ip_address="10.0.0.2", mac_address="b")
    for first, second in ((one, other), (other, one)):
        found = _together(first, second)
        assert (found["ip_address"], found["mac_address"], found["hostname"]) == ("10.0.0.2", "b", "pc-1")
        assert (found["last_collected"], found["last_seen"]) == (LATE, EARLY)


def test_what_people_said_is_the_first_ones_where_it_has_some():
    one = row(lab_id=1, seat_column=3, seat_row=2, ssh_user="keeper")
    other = row(lab_id=2, seat_column=9, seat_row=9, ssh_port=2222, ssh_user="other", last_seen=LATE)
    found = _together(one, other)
    assert (found["lab_id"], found["seat_column"], found["ssh_port"], found["ssh_user"]) == (
        1,
        3,
        2222,
        "keeper",
    )
    assert _together(row(), other)["lab_id"] == 2


def test_a_lab_of_the_department_that_it_left_is_not_kept():
    found = _together(row(lab_id=1, dept_id=1), row(dept_id=2, last_seen=LATE))
    assert (found["dept_id"], found["lab_id"], found["seat_column"]) == (2, None, None)


def test_the_status_is_the_newest_one_unless_people_gave_the_first_its_own():
    one, other = row(status="active", status_at=EARLY), row(status="offline", status_at=LATE)
    assert _together(one, other)["status"] == "offline"
    assert _together(other, one)["status"] == "offline"
    assert _together(row(status="maintenance", status_at=EARLY), other)["status"] == "maintenance"
    assert _together(one, row(status="retired", status_at=LATE))["status"] == "active"
