"""Machines with IPv6 addresses, of which they have many, and most an IPv4 address too."""

import pytest

from labmon.store.inventory import scans
from labmon.store.inventory.systems import record_discoveries, systems
from tests.integration.store.test_history import counts, flags, happened, scanned, since
from tests.integration.store.test_inventory import A, B, inventory, seen

BOTH = "10.0.0.0/24, fd00:5::/64"


def test_a_machine_with_ipv6_alone_is_found_moves_goes_and_comes_back(connection):
    def scan(minute, *hosts):
        scanned(connection, minute, *hosts, target_range="fd00:5::/64")

    scan(0, ("fd00:5::1", A), ("fd00:5::2", B))
    scan(1, ("fd00:5::9", A))
    assert inventory(connection) == {1: ("fd00:5::9", A), 2: ("fd00:5::2", B)}
    assert [counts(connection, minute) for minute in range(2)] == [(2, 0, 0), (0, 1, 1)]
    scan(2, ("fd00:5::9", A), ("fd00:5::2", B))
    assert happened(connection, system_id=2) == [
        (2, "found", None, "fd00:5::2"),
        (2, "gone", "fd00:5::2", None),
        (2, "back", None, "fd00:5::2"),
    ]
    assert scans.outcome(connection, 3)[1] is not None


def test_only_who_was_asked_is_gone(connection):
    scanned(connection, 0, "fd00:5::1", "fd00:6::1", "10.0.0.1", target_range=f"{BOTH}, fd00:6::/64")
    scanned(connection, 1, target_range="fd00:5::/64")
    assert [one.ip_address for one in systems(connection, gone=True)] == ["fd00:5::1"]
    scanned(connection, 2, target_range="10.0.0.0/25, 10.0.0.128/25, fd00:6::1-fd00:6::9")
    assert len(systems(connection, gone=True)) == 3
    scanned(connection, 3, target_range="10.0.0.127-10.0.0.128, fe80::/64")
    assert scans.outcome(connection, 4)[1] == scans.outcome(connection, 3)[0].started_at


@pytest.mark.parametrize("first", ["10.0.0.1", "fd00:5::1"])
@pytest.mark.parametrize("batches", [1, 2])
def test_a_machine_with_both_is_one_and_stands_at_its_ipv4_address(connection, first, batches):
    both = [seen("10.0.0.1", A, name="pc-1"), seen("fd00:5::1", A)]
    both.sort(key=lambda one: one.ip_address != first)
    for batch in [both] if batches == 1 else [both[:1], both[1:]]:
        record_discoveries(connection, batch)
    assert inventory(connection) == {1: ("10.0.0.1", A)}
    assert flags(connection) == {1: None}
    before = happened(connection)
    for minute in (1, 2):
        scanned(connection, minute, ("fd00:5::1", A), ("10.0.0.1", A), target_range=BOTH)
        scanned(connection, minute + 2, ("fd00:5::1", A), target_range="fd00:5::/64")
    assert happened(connection) == before
    assert systems(connection)[0].last_seen.minute == 4


def test_when_it_has_left_its_ipv4_address_it_stands_at_the_other(connection):
    scanned(connection, 0, ("10.0.0.1", A), ("fd00:5::1", A), target_range=BOTH)
    scanned(connection, 1)
    scanned(connection, 2, ("fd00:5::1", A), target_range="fd00:5::/64")
    assert inventory(connection) == {1: ("fd00:5::1", A)}
    scanned(connection, 3, ("10.0.0.4", A))
    assert inventory(connection) == {1: ("10.0.0.4", A)}


@pytest.mark.parametrize("batches", [1, 2])
def test_several_ipv6_addresses_are_one_machine_that_does_not_wander_among_them(connection, batches):
    scanned(connection, 0, ("fd00:5::1", A), target_range="fd00:5::/64")
    for minute in range(1, 4):
        several = [seen("fd00:5::1", A, minute=minute), seen("fd00:5::abcd", A, minute=minute)]
        for batch in [several] if batches == 1 else [several[:1], several[1:]]:
            record_discoveries(connection, batch)
    assert inventory(connection) == {1: ("fd00:5::1", A)}
    assert flags(connection) == {1: None}
    assert since(connection, kinds=["moved", "shared"]) == []


def test_clones_with_ipv4_addresses_stay_flagged_whatever_ipv6_says(connection):
    scanned(connection, 0, ("10.0.0.1", A), ("10.0.0.2", A), ("fd00:5::1", A), target_range=BOTH)
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: ("10.0.0.2", A), 3: ("fd00:5::1", A)}
    assert set(flags(connection).values()) == {"shared"}
