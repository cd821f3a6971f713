"""A known MAC address at a new address: the same machine there, or another one (findings A8)."""

from datetime import timedelta

import pytest

from labmon.messages import Metrics, Readings, SystemStatus
from labmon.store.inventory import scans
from labmon.store.inventory.life.edit import edit
from labmon.store.inventory.statuses import record_statuses
from labmon.store.inventory.systems import record_discoveries, systems
from labmon.store.metrics.record import record_metrics
from tests.integration.store.test_history import counts, finished, flags, happened, scanned, since
from tests.integration.store.test_inventory import NOON, A, B, inventory, seen

VLANS = {1: "10.30.5.0/28", 2: "10.30.6.0/28"}
BOTH = ", ".join(VLANS.values())


def visit(connection, minute, address, mac, dept, *, name=None, target=None):
    """A completed scan of one department's network that meets one machine."""
    record_discoveries(connection, [seen(address, mac, name=name, minute=minute, dept=dept)])
    scans.record_scans(connection, [finished(minute, target or VLANS[dept], found=1)])


def reading(minute, system_id):
    return Metrics(
        system_id=system_id, collected_at=NOON + timedelta(minutes=minute), metrics=Readings(load1=1.0)
    )


def departments(connection):
    return {one.system_id: one.dept_id for one in systems(connection)}


# findings A8
@pytest.mark.parametrize(
    "addresses", [("10.30.5.1", "10.30.6.1"), ("fd00:5::1", "fd00:6::1"), ("10.30.5.1", "fd00:6::1")]
)
def test_a_router_in_two_networks_that_are_scanned_apart_is_two_systems(connection, addresses):
    for minute in range(0, 10, 2):
        for n, address in enumerate(addresses):
            network = f"{address}/28" if "." in address else f"{address}/64"
            visit(connection, minute + n, address, A, n + 1, target=network)
    assert inventory(connection) == {1: (addresses[0], A), 2: (addresses[1], A)}
    assert departments(connection) == {1: 1, 2: 2}
    assert [change for _, change, _, _ in happened(connection)] == ["found", "found"]


# findings A8
def test_a_backlog_of_two_scans_in_one_batch_keeps_a_router_in_both_networks(connection):
    visit(connection, 0, "10.30.5.1", A, 1)
    both = [seen("10.30.5.1", A, minute=1), seen("10.30.6.1", A, minute=2, dept=2)]
    record_discoveries(connection, both)
    scans.record_scans(connection, [finished(1, VLANS[1], found=1), finished(2, VLANS[2], found=1)])
    assert inventory(connection) == {1: ("10.30.5.1", A), 2: ("10.30.6.1", A)}
    assert since(connection, kinds=["moved", "gone", "department"]) == []


# findings A8
def test_two_laptops_in_turn_on_docks_of_two_rooms_are_two_systems(connection):
    for minute in range(0, 8, 2):
        visit(connection, minute, "10.30.5.4", A, 1, name="laptop-x")
        visit(connection, minute + 1, "10.30.6.4", A, 2, name="laptop-y")
    assert [(one.hostname, one.dept_id) for one in systems(connection)] == [("laptop-x", 1), ("laptop-y", 2)]
    assert since(connection, kinds=["moved", "renamed"]) == []


# findings A8
def test_two_laptops_in_turn_on_one_dock_are_two_systems_once_it_is_marked(connection):
    scanned(connection, 0, ("10.0.0.1", A, "laptop-x"))
    edit(connection, [1], shared_mac=True)
    for minute in range(1, 7):
        scanned(connection, minute, ("10.0.0.2", A, "laptop-y") if minute % 2 else ("10.0.0.1", A))
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: ("10.0.0.2", A)}
    assert [one.hostname for one in systems(connection)] == ["laptop-x", "laptop-y"]
    assert since(connection, kinds=["moved", "renamed"]) == []


# findings A8
@pytest.mark.parametrize("to, dept", [("10.30.5.9", 1), ("10.30.6.9", 2)])
def test_a_machine_that_moved_keeps_number_lab_and_history(connection, to, dept):
    visit(connection, 0, "10.30.5.4", A, 1, name="pc-1", target=BOTH)
    connection.execute("INSERT INTO labs (lab_id, dept_id, name) VALUES (3, 1, 'Room 3')")
    connection.execute("UPDATE systems SET lab_id = 3, ssh_port = 2222")
    record_metrics(connection, [reading(1, 1)])
    visit(connection, 2, to, A, dept, target=BOTH)
    (one,) = systems(connection)
    assert (one.system_id, one.ip_address, one.dept_id, one.hostname) == (1, to, dept, "pc-1")
    assert (one.lab_id, one.ssh_port, one.status) == (3 if dept == 1 else None, 2222, "active")
    (moved,) = since(connection, kinds=["moved"])
    assert (moved.old_value, moved.new_value, moved.scan_id) == ("10.30.5.4", to, 3)
    assert since(connection, kinds=["gone", "back", "lost"]) == []
    assert counts(connection, 2) == (0, 1, 0)
    assert connection.execute("SELECT system_id FROM metrics").fetchall() == [(1,)]


# findings A8
@pytest.mark.parametrize(
    "options",
    [
        {"status": "interrupted"},
        {"status": "incomplete"},
        {"target_range": "10.0.0.9"},
        {"target_range": "the second floor"},
    ],
)
def test_what_did_not_ask_the_old_address_to_the_end_believes_no_move(connection, options):
    scanned(connection, 0, ("10.0.0.1", A))
    scanned(connection, 1, ("10.0.0.9", A), **options)
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: ("10.0.0.9", A)}
    scanned(connection, 2, ("10.0.0.9", A))  # seen there before, so it stays a system of its own
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: ("10.0.0.9", A)}
    assert since(connection, kinds=["moved"]) == []
    assert [one.system_id for one in systems(connection, gone=True)] == [1]


# findings A8
def test_a_machine_that_was_gone_before_moves_at_once(connection):
    scanned(connection, 0, ("10.0.0.1", A))
    scanned(connection, 1)
    record_discoveries(connection, [seen("10.30.6.9", A, minute=2)])
    assert inventory(connection) == {1: ("10.30.6.9", A)}


# findings A8
def test_the_end_of_a_scan_that_is_stored_before_its_sightings_moves_as_well(connection):
    scanned(connection, 0, ("10.0.0.1", A))
    scans.record_scans(connection, [finished(1)])
    record_discoveries(connection, [seen("10.0.0.9", A, minute=1)])
    assert inventory(connection) == {1: ("10.0.0.9", A)}
    assert counts(connection, 1) == (0, 1, 0)


# findings A8
def test_a_machine_that_was_measured_at_its_old_address_during_the_scan_has_not_moved(connection):
    scanned(connection, 0, ("10.0.0.1", A))
    record_metrics(connection, [reading(1.5, 1)])
    scanned(connection, 1, ("10.0.0.9", A))
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: ("10.0.0.9", A)}


# findings A8
def test_what_was_measured_of_the_new_system_until_the_scan_ended_goes_to_the_old_one(connection):
    scanned(connection, 0, ("10.0.0.1", A))
    record_statuses(connection, [failing(0.5)])
    record_discoveries(connection, [seen("10.0.0.9", A, minute=1)])
    record_metrics(connection, [reading(1.01, 2)])
    scans.record_scans(connection, [finished(1)])
    (one,) = systems(connection)
    assert (one.system_id, one.ip_address, one.status) == (1, "10.0.0.9", "active")
    assert one.last_collected == NOON + timedelta(minutes=1.01)
    assert connection.execute("SELECT system_id FROM metrics").fetchall() == [(1,)]
    assert [new for _, _, _, new in happened(connection, kinds=["status"])] == ["refused", "active"]


def failing(minute):
    at = NOON + timedelta(minutes=minute)
    return SystemStatus(system_id=1, status="refused", since=at, checked_at=at, error="refused: no")


# findings A8
def test_a_new_system_that_an_administrator_has_placed_already_stays(connection):
    scanned(connection, 0, ("10.0.0.1", A))
    record_discoveries(connection, [seen("10.0.0.9", A, minute=1)])
    connection.execute("INSERT INTO labs (lab_id, dept_id, name) VALUES (3, 1, 'Room 3')")
    connection.execute("UPDATE systems SET lab_id = 3 WHERE system_id = 2")
    scans.record_scans(connection, [finished(1)])
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: ("10.0.0.9", A)}


# findings A8
def test_a_whole_network_with_new_addresses_moves_with_one_line_for_each(connection):
    macs = [f"00:1b:44:00:00:{n:02x}" for n in range(1, 61)]
    scanned(connection, 0, *((f"10.30.5.{n}", mac) for n, mac in enumerate(macs, 1)), target_range=WIDE)
    scanned(connection, 1, *((f"10.30.6.{n}", mac) for n, mac in enumerate(macs, 1)), target_range=WIDE)
    assert inventory(connection) == {n: (f"10.30.6.{n}", mac) for n, mac in enumerate(macs, 1)}
    assert {change for _, change, _, _ in happened(connection)} == {"found", "moved"}
    assert counts(connection, 1) == (0, 60, 0)


WIDE = "10.30.0.0/16"


# findings A8
@pytest.mark.parametrize("batches", [1, 2])
def test_addresses_that_pass_from_machine_to_machine_move_each_of_them(connection, batches):
    third = "00:1b:44:11:3a:b9"
    scanned(connection, 0, ("10.0.0.1", A), ("10.0.0.2", B), ("10.0.0.3", third))
    turned = [
        seen("10.0.0.2", A, minute=1),
        seen("10.0.0.3", B, minute=1),
        seen("10.0.0.1", third, minute=1),
    ]
    for batch in [turned] if batches == 1 else [turned[:1], turned[1:]]:
        record_discoveries(connection, batch)
    scans.record_scans(connection, [finished(1)])
    assert inventory(connection) == {1: ("10.0.0.2", A), 2: ("10.0.0.3", B), 3: ("10.0.0.1", third)}
    assert counts(connection, 1) == (0, 3, 0)


# findings A8
def test_a_second_ipv6_network_of_a_machine_that_answered_is_no_system_of_its_own(connection):
    both = "fd00:5::/64, fd00:f::/64"
    scanned(connection, 0, ("fd00:5::1", A), target_range=both)
    for batch in (("fd00:f::1", 1), ("fd00:5::1", 1)):
        record_discoveries(connection, [seen(batch[0], A, minute=batch[1])])
    scans.record_scans(connection, [finished(1, both)])
    assert inventory(connection) == {1: ("fd00:5::1", A)}
    assert flags(connection) == {1: None}
    assert [change for _, change, _, _ in happened(connection)] == ["found"]
