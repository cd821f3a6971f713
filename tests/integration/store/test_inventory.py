from datetime import UTC, datetime, timedelta

import pytest

from labmon.messages import Discovery, ScanFinished
from labmon.store.inventory.life.edit import edit
from labmon.store.inventory.scans import record_scans
from labmon.store.inventory.systems import record_discoveries, systems

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
A, B = "00:1b:44:11:3a:b7", "00:1b:44:11:3a:b8"


def seen(ip, mac=None, *, name=None, minute=0, dept=1, scan=None):
    return Discovery(
        scan_id=minute + 1 if scan is None else scan,
        dept_id=dept,
        ip_address=ip,
        hostname=name,
        mac_address=mac,
        discovered_at=NOON + timedelta(minutes=minute),
        scan_type="ping",
    )


def inventory(connection):
    """{system_id: (address, MAC)}"""
    return {one.system_id: (one.ip_address, one.mac_address) for one in systems(connection)}


def test_a_found_machine_is_kept_with_its_department(connection):
    record_discoveries(connection, [seen("10.0.0.1", A.upper().replace(":", "-"), name="pc-1", dept=7)])
    (one,) = systems(connection, dept=7)
    assert (one.ip_address, one.mac_address, one.hostname) == ("10.0.0.1", A, "pc-1")
    assert one.status == "discovered"
    assert one.last_seen == NOON
    assert systems(connection, dept=8) == []


def test_a_repeat_changes_nothing(connection):
    for _ in range(2):
        record_discoveries(connection, [seen("10.0.0.1", A), seen("10.0.0.2")])
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: ("10.0.0.2", None)}


def test_a_name_once_known_is_not_lost_when_dns_is_silent(connection):
    record_discoveries(connection, [seen("10.0.0.1", name="pc-1")])
    record_discoveries(connection, [seen("10.0.0.1", minute=1)])
    assert systems(connection)[0].hostname == "pc-1"


def test_a_machine_known_by_address_gains_its_mac(connection):
    record_discoveries(connection, [seen("10.0.0.1")])
    record_discoveries(connection, [seen("10.0.0.1", A, minute=1)])
    assert inventory(connection) == {1: ("10.0.0.1", A)}


def test_a_known_mac_at_a_new_address_is_the_same_machine_once_the_old_one_was_silent(connection):
    record_discoveries(connection, [seen("10.0.0.1", A)])
    record_discoveries(connection, [seen("10.0.0.9", A, minute=1)])
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: ("10.0.0.9", A)}
    record_scans(connection, [ended("10.0.0.0/24", 1)])
    assert inventory(connection) == {1: ("10.0.0.9", A)}


def test_the_previous_owner_of_an_address_loses_it(connection):
    record_discoveries(connection, [seen("10.0.0.1", A)])
    record_discoveries(connection, [seen("10.0.0.1", B, minute=1)])
    assert inventory(connection) == {1: (None, A), 2: ("10.0.0.1", B)}


def test_two_machines_that_swap_addresses_keep_their_histories(connection):
    record_discoveries(connection, [seen("10.0.0.1", A), seen("10.0.0.2", B)])
    record_discoveries(connection, [seen("10.0.0.1", B, minute=1), seen("10.0.0.2", A, minute=1)])
    assert inventory(connection) == {1: ("10.0.0.2", A), 2: ("10.0.0.1", B)}


def test_a_ping_without_mac_does_not_split_the_machine_at_that_address(connection):
    record_discoveries(connection, [seen("10.0.0.1", A)])
    record_discoveries(connection, [seen("10.0.0.1", minute=1)])
    assert inventory(connection) == {1: ("10.0.0.1", A)}


# findings A8
def test_a_machine_whose_old_address_still_answers_has_not_moved(connection):
    record_discoveries(connection, [seen("10.0.0.1", A)])
    record_discoveries(connection, [seen("10.0.0.2", A, minute=1), seen("10.0.0.1", minute=1)])
    record_scans(connection, [ended("10.0.0.0/24", 1)])
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: ("10.0.0.2", A)}


def test_a_late_message_moves_nothing_back(connection):
    record_discoveries(connection, [seen("10.0.0.2", A, minute=5)])
    record_discoveries(connection, [seen("10.0.0.1", A, minute=1)])
    assert inventory(connection) == {1: ("10.0.0.2", A)}
    assert systems(connection)[0].last_seen == NOON + timedelta(minutes=5)
    first = connection.execute("SELECT first_seen FROM systems").fetchone()[0]
    assert first == NOON + timedelta(minutes=1)


def test_a_late_stranger_does_not_take_the_address_of_a_newer_sighting(connection):
    record_discoveries(connection, [seen("10.0.0.1", A, minute=5)])
    record_discoveries(connection, [seen("10.0.0.1", B, minute=1)])
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: (None, B)}


def test_within_a_batch_the_last_word_on_an_address_counts(connection):
    record_discoveries(
        connection,
        [seen("10.0.0.1", A, minute=2), seen("10.0.0.2", A, minute=1), seen("10.0.0.1", B, minute=3)],
    )
    assert inventory(connection) == {1: ("10.0.0.2", A), 2: (None, A), 3: ("10.0.0.1", B)}


def test_a_machine_moved_to_another_department_leaves_its_lab(connection):
    record_discoveries(connection, [seen("10.0.0.1")])
    connection.execute("INSERT INTO labs (lab_id, dept_id, name) VALUES (3, 1, 'Room 3')")
    connection.execute("UPDATE systems SET lab_id = 3")
    record_discoveries(connection, [seen("10.0.0.1", minute=1)])
    assert systems(connection, lab=3)[0].dept_id == 1
    record_discoveries(connection, [seen("10.0.0.1", minute=2, dept=2)])
    (one,) = systems(connection)
    assert (one.dept_id, one.lab_id) == (2, None)


def test_a_finished_scan_is_recorded_once(connection):
    scan = ScanFinished(
        scan_id=17,
        dept_id=9,
        scan_type="ping",
        target_range="10.0.0.0/24",
        started_at=NOON,
        finished_at=NOON + timedelta(seconds=3),
        systems_found=12,
        status="completed",
    )
    record_scans(connection, [scan, scan])
    record_scans(connection, [scan])
    assert connection.execute("SELECT scan_id, dept_id, systems_found FROM scans").fetchall() == [(17, 9, 12)]


def test_two_thousand_machines_in_one_batch(connection):
    macs = [f"02:00:00:00:{n >> 8:02x}:{n & 255:02x}" for n in range(2000)]
    batch = [seen(f"10.0.{n // 250}.{n % 250 + 1}", mac) for n, mac in enumerate(macs)]
    record_discoveries(connection, batch)
    record_discoveries(connection, batch)
    assert len(inventory(connection)) == 2000


# findings A8
@pytest.mark.parametrize(
    "mac",
    ["00:00:5e:00:01:05", "00:00:5e:00:02:05", "00:00:0c:07:ac:01", "00:00:0c:9f:f1:23", "00:07:b4:00:01:01"],
)
def test_what_routers_take_over_from_each_other_is_no_identity(connection, mac):
    record_discoveries(connection, [seen("10.5.0.1", mac)])
    record_discoveries(connection, [seen("10.6.0.1", mac, minute=1, dept=2)])
    assert inventory(connection) == {1: ("10.5.0.1", None), 2: ("10.6.0.1", None)}


# findings A8
def test_a_mac_that_an_administrator_marked_as_shared_moves_no_machine(connection):
    record_discoveries(connection, [seen("10.5.0.1", A)])
    edit(connection, [1], shared_mac=True)
    for minute in (1, 3):
        record_discoveries(connection, [seen("10.6.0.1", A, minute=minute, dept=2)])
        record_scans(connection, [ended("10.6.0.0/24", minute)])
        record_discoveries(connection, [seen("10.5.0.1", A, minute=minute + 1)])
        record_scans(connection, [ended("10.5.0.0/24", minute + 1)])
    assert inventory(connection) == {1: ("10.5.0.1", A), 2: ("10.6.0.1", A)}
    assert [one.dept_id for one in systems(connection)] == [1, 2]


# findings A8
def test_a_mac_that_is_no_longer_marked_as_shared_is_an_identity_again(connection):
    record_discoveries(connection, [seen("10.5.0.1", A)])
    edit(connection, [1], shared_mac=True)
    edit(connection, [1], shared_mac=False)
    record_discoveries(connection, [seen("10.6.0.1", A, minute=1)])
    record_scans(connection, [ended("10.5.0.0/24, 10.6.0.0/24", 1)])
    assert inventory(connection) == {1: ("10.6.0.1", A)}


def ended(target, minute):
    return ScanFinished(
        scan_id=minute + 1,
        dept_id=1,
        scan_type="ping",
        target_range=target,
        started_at=NOON + timedelta(minutes=minute, seconds=-1),
        finished_at=NOON + timedelta(minutes=minute, seconds=1),
        systems_found=1,
        status="completed",
    )
