"""What scans say about machines over time: moved, swapped, cloned, re-imaged, gone and back."""

from datetime import timedelta

import pytest

from labmon.messages import ScanFinished
from labmon.store.inventory import history, scans
from labmon.store.inventory.systems import record_discoveries, systems
from tests.integration.store.test_inventory import NOON, A, B, inventory, seen

RANDOM, OTHER_RANDOM = "da:a1:19:00:00:01", "da:a1:19:00:00:02"
QEMU, OTHER_QEMU = "52:54:00:00:00:01", "52:54:00:00:00:02"


def happened(connection, **only):
    return [(one.system_id, one.change, one.old_value, one.new_value) for one in since(connection, **only)]


def since(connection, **only):
    return history.changes(connection, **only)


def finished(minute, target_range="10.0.0.1-10.0.0.254", *, status="completed", found=0):
    """The end of the scan that `seen(minute=minute)` belongs to."""
    return ScanFinished(
        scan_id=minute + 1,
        dept_id=1,
        scan_type="arp",
        target_range=target_range,
        started_at=NOON + timedelta(minutes=minute),
        finished_at=NOON + timedelta(minutes=minute, seconds=3),
        systems_found=found,
        status=status,
    )


def scanned(connection, minute, *hosts, **options):
    """A whole scan: what it saw as (address, mac, name), and its end."""
    record_discoveries(
        connection, [seen(ip, mac, name=name, minute=minute) for ip, mac, name in map(padded, hosts)]
    )
    scans.record_scans(connection, [finished(minute, found=len(hosts), **options)])


def padded(host):
    host = host if isinstance(host, tuple) else (host,)
    return (*host, None, None)[:3]


def counts(connection, minute):
    record, _ = scans.outcome(connection, minute + 1)
    return record.systems_new, record.systems_moved, record.systems_gone


def flags(connection):
    return {one.system_id: one.mac_flag for one in systems(connection)}


def test_each_change_is_kept_with_what_was_before(connection):
    record_discoveries(connection, [seen("10.0.0.1", name="pc-1")])
    record_discoveries(connection, [seen("10.0.0.1", A, name="pc-1", minute=1)])
    record_discoveries(connection, [seen("10.0.0.9", A, name="pc-9", minute=2, dept=2)])
    scans.record_scans(connection, [finished(2)])
    assert happened(connection) == [
        (1, "found", None, "10.0.0.1"),
        (1, "mac", None, A),
        (1, "moved", "10.0.0.1", "10.0.0.9"),
        (1, "renamed", "pc-1", "pc-9"),
        (1, "department", "1", "2"),
    ]
    assert [one.scan_id for one in since(connection, kinds=["moved", "found"])] == [1, 3]


def test_repeats_and_late_messages_leave_no_trace(connection):
    first = [seen("10.0.0.1", A, name="pc-1"), seen("10.0.0.2", B)]
    second = [seen("10.0.0.3", A, name="pc-3", minute=1)]
    record_discoveries(connection, first)
    record_discoveries(connection, second)
    scans.record_scans(connection, [finished(1, "10.0.0.1, 10.0.0.3")])
    before = happened(connection)
    assert (1, "moved", "10.0.0.1", "10.0.0.3") in before
    for again in (second, first, second):
        record_discoveries(connection, again)
    assert happened(connection) == before


@pytest.mark.parametrize("together", [True, False])
def test_two_machines_that_swap_addresses(connection, together):
    scanned(connection, 0, ("10.0.0.1", A), ("10.0.0.2", B))
    swapped = [seen("10.0.0.1", B, minute=1), seen("10.0.0.2", A, minute=1)]
    for batch in [swapped] if together else [swapped[:1], swapped[1:]]:
        record_discoveries(connection, batch)
    scans.record_scans(connection, [finished(1)])
    assert inventory(connection) == {1: ("10.0.0.2", A), 2: ("10.0.0.1", B)}
    moved = since(connection, kinds=["moved"])
    assert {(one.system_id, one.old_value, one.new_value) for one in moved} == {
        (1, "10.0.0.1", "10.0.0.2"),
        (2, "10.0.0.2", "10.0.0.1"),
    }
    assert counts(connection, 1) == (0, 2, 0)
    assert flags(connection) == {1: None, 2: None}


def test_a_re_imaged_machine_is_the_same_machine_with_a_new_name(connection):
    scanned(connection, 0, ("10.0.0.1", A, "win-pc-1"))
    scanned(connection, 1, ("10.0.0.7", A, "linux-pc-1"))
    assert inventory(connection) == {1: ("10.0.0.7", A)}
    assert (1, "renamed", "win-pc-1", "linux-pc-1") in happened(connection)


def test_a_second_network_card_is_another_system_and_takes_nothing(connection):
    scanned(connection, 0, ("10.0.0.1", A, "pc-1"))
    scanned(connection, 1, ("10.0.0.1", A, "pc-1"), ("10.0.0.2", B, "pc-1"))
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: ("10.0.0.2", B)}
    assert flags(connection) == {1: None, 2: None}


@pytest.mark.parametrize("batches", [1, 2])
def test_a_mac_at_several_addresses_in_one_scan_is_flagged_and_merges_nothing(connection, batches):
    clones = [seen("10.0.0.1", A, name="pc-1"), seen("10.0.0.2", A, name="pc-2")]
    for batch in [clones] if batches == 1 else [clones[:1], clones[1:]]:
        record_discoveries(connection, batch)
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: ("10.0.0.2", A)}
    assert flags(connection) == {1: "shared", 2: "shared"}

    # From then on they are their addresses, also when only one of them answers.
    scanned(connection, 1, ("10.0.0.2", A))
    scanned(connection, 2, ("10.0.0.1", A), ("10.0.0.2", A), ("10.0.0.3", A))
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: ("10.0.0.2", A), 3: ("10.0.0.3", A)}
    assert since(connection, kinds=["moved", "lost"]) == []
    assert [one.hostname for one in systems(connection)] == ["pc-1", "pc-2", None]


def test_sharing_is_noticed_in_whatever_order_the_batches_come(connection):
    record_discoveries(connection, [seen("10.0.0.5", A, minute=5, scan=7)])
    record_discoveries(connection, [seen("10.0.0.1", A, minute=4, scan=7)])  # earlier, and comes later
    assert inventory(connection) == {1: ("10.0.0.5", A), 2: ("10.0.0.1", A)}
    assert flags(connection) == {1: "shared", 2: "shared"}


def test_a_sender_that_always_uses_one_scan_id_makes_no_clones(connection):
    record_discoveries(connection, [seen("10.0.0.1", A, scan=1)])
    record_discoveries(connection, [seen("10.0.0.2", A, scan=1, minute=24 * 60)])
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: ("10.0.0.2", A)}
    assert flags(connection) == {1: None, 2: None}


def test_a_clone_whose_card_is_replaced_is_a_new_machine(connection):
    scanned(connection, 0, ("10.0.0.1", A), ("10.0.0.2", A))
    scanned(connection, 1, ("10.0.0.1", A), ("10.0.0.2", B))
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: (None, A), 3: ("10.0.0.2", B)}
    assert flags(connection) == {1: None, 2: None, 3: None}


def test_a_mac_that_is_at_one_address_again_is_unflagged(connection):
    scanned(connection, 0, ("10.0.0.1", A), ("10.0.0.2", A))
    scanned(connection, 1, ("10.0.0.2", A), target_range="10.0.0.2")  # nobody asked the other
    assert flags(connection) == {1: "shared", 2: "shared"}
    scanned(connection, 2, ("10.0.0.2", A), status="interrupted")
    assert flags(connection) == {1: "shared", 2: "shared"}
    scanned(connection, 3, ("10.0.0.2", A))
    assert flags(connection) == {1: None, 2: None}
    assert [(one.system_id, one.old_value, one.scan_id) for one in since(connection, kinds=["unshared"])] == [
        (2, A, 4)
    ]
    # It is its MAC again, and moves.
    scanned(connection, 4, ("10.0.0.7", A))
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: ("10.0.0.7", A)}


def test_a_clone_that_comes_back_where_it_was_is_that_clone(connection):
    """Two clones that are on in turns would else be merged as soon as the flag is gone."""
    scanned(connection, 0, ("10.0.0.1", A), ("10.0.0.2", A))
    for minute in range(1, 6):
        scanned(connection, minute, (f"10.0.0.{1 + minute % 2}", A))
        assert inventory(connection) == {1: ("10.0.0.1", A), 2: ("10.0.0.2", A)}
    scanned(connection, 6, ("10.0.0.1", A), ("10.0.0.2", A))
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: ("10.0.0.2", A)}
    assert flags(connection) == {1: "shared", 2: "shared"}
    assert since(connection, kinds=["moved", "lost"]) == []


def test_a_clone_with_a_new_card_frees_the_other(connection):
    scanned(connection, 0, ("10.0.0.1", RANDOM), ("10.0.0.2", RANDOM))
    scanned(connection, 1, ("10.0.0.1", RANDOM), ("10.0.0.2", B))
    assert flags(connection) == {1: "random", 2: "random", 3: None}
    assert inventory(connection) == {1: ("10.0.0.1", RANDOM), 2: (None, RANDOM), 3: ("10.0.0.2", B)}


def test_one_that_was_measured_meanwhile_keeps_the_flag_on(connection):
    scanned(connection, 0, ("10.0.0.1", A), ("10.0.0.2", A))
    connection.execute(
        "UPDATE systems SET last_seen = %s WHERE system_id = 1", [NOON + timedelta(minutes=1, seconds=2)]
    )
    scanned(connection, 1, ("10.0.0.2", A))
    assert flags(connection) == {1: "shared", 2: "shared"}


def test_a_clone_that_is_stored_after_the_end_of_the_scan_brings_the_flag_back(connection):
    scanned(connection, 0, ("10.0.0.1", A), ("10.0.0.2", A))
    scanned(connection, 1, ("10.0.0.2", A))
    record_discoveries(connection, [seen("10.0.0.1", A, minute=1)])
    assert flags(connection) == {1: "shared", 2: "shared"}
    assert inventory(connection) == {1: ("10.0.0.1", A), 2: ("10.0.0.2", A)}


def test_a_random_mac_seen_again_elsewhere_is_the_same_machine(connection):
    scanned(connection, 0, ("10.0.0.1", RANDOM), ("10.0.0.2", OTHER_RANDOM))
    scanned(connection, 1, ("10.0.0.1", OTHER_RANDOM), ("10.0.0.2", RANDOM))
    assert inventory(connection) == {1: ("10.0.0.2", RANDOM), 2: ("10.0.0.1", OTHER_RANDOM)}
    assert flags(connection) == {1: "random", 2: "random"}


def test_a_phone_with_another_random_mac_each_day_stays_one_machine(connection):
    scanned(connection, 0, ("10.0.0.1", RANDOM))
    scanned(connection, 1, ("10.0.0.1", OTHER_RANDOM))
    assert inventory(connection) == {1: ("10.0.0.1", OTHER_RANDOM)}
    assert (1, "mac", RANDOM, OTHER_RANDOM) in happened(connection)


@pytest.mark.parametrize(
    "before, after",
    [
        ((A, None), (RANDOM, None)),  # a real card is never taken over
        ((RANDOM, None), (A, None)),
        ((QEMU, None), (OTHER_QEMU, None)),  # a virtual machine keeps its own
        ((RANDOM, "pc-1"), (OTHER_RANDOM, "pc-2")),  # the names say otherwise
    ],
)
def test_another_machine_at_the_address_is_another_machine(connection, before, after):
    scanned(connection, 0, ("10.0.0.1", *before))
    scanned(connection, 1, ("10.0.0.1", *after))
    assert inventory(connection) == {1: (None, before[0]), 2: ("10.0.0.1", after[0])}
    assert (1, "lost", "10.0.0.1", None) in happened(connection)


@pytest.mark.parametrize("nobodys", ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"])
def test_a_mac_that_is_nobodys_is_no_mac(connection, nobodys):
    record_discoveries(connection, [seen("10.0.0.1", nobodys), seen("10.0.0.2", nobodys)])
    assert inventory(connection) == {1: ("10.0.0.1", None), 2: ("10.0.0.2", None)}


def test_who_is_missing_from_a_completed_scan_is_gone_once_and_then_back(connection):
    scanned(connection, 0, "10.0.0.1", "10.0.0.2")
    scanned(connection, 1, "10.0.0.1")
    scanned(connection, 2, "10.0.0.1")
    assert [counts(connection, minute) for minute in range(3)] == [(2, 0, 0), (0, 0, 1), (0, 0, 0)]
    (gone,) = systems(connection, gone=True)
    assert (gone.system_id, gone.gone_since) == (2, NOON + timedelta(minutes=1))
    scanned(connection, 3, "10.0.0.1", "10.0.0.2")
    assert systems(connection, gone=True) == []
    assert happened(connection, system_id=2) == [
        (2, "found", None, "10.0.0.2"),
        (2, "gone", "10.0.0.2", None),
        (2, "back", None, "10.0.0.2"),
    ]
    scanned(connection, 4, "10.0.0.1")
    assert counts(connection, 4) == (0, 0, 1)


@pytest.mark.parametrize("minute", [0, 1, 2], ids=["the same once more", "an older one", "the newest"])
def test_a_sighting_from_before_the_scan_that_missed_the_machine_does_not_bring_it_back(connection, minute):
    scanned(connection, 0, "10.0.0.1", "10.0.0.2")
    scanned(connection, 3, "10.0.0.1")
    before = happened(connection)
    for _ in range(2):
        record_discoveries(connection, [seen("10.0.0.2", minute=minute, scan=1)])
    assert [one.system_id for one in systems(connection, gone=True)] == [2]
    assert happened(connection) == before
    scanned(connection, 4, "10.0.0.1", "10.0.0.2")
    assert systems(connection, gone=True) == []


def test_a_machine_that_was_missed_by_a_clock_ahead_is_back_with_the_next_sighting(connection):
    scanned(connection, 0, "10.0.0.1")
    connection.execute("UPDATE systems SET gone_since = now() + interval '1 year'")
    record_discoveries(connection, [seen("10.0.0.1", minute=2)])
    assert systems(connection, gone=True) == []


def test_a_machine_that_was_measured_since_is_not_gone(connection):
    scanned(connection, 0, "10.0.0.1")
    connection.execute("UPDATE systems SET last_seen = %s", [NOON + timedelta(minutes=2)])
    scanned(connection, 1)
    assert systems(connection, gone=True) == []
    scanned(connection, 3)
    connection.execute("UPDATE systems SET last_seen = %s", [NOON + timedelta(minutes=4)])
    assert systems(connection, gone=True) == []
    scanned(connection, 5)
    assert len(systems(connection, gone=True)) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"status": "interrupted"},
        {"status": "incomplete"},  # findings D6
        {"target_range": "10.0.1.0/24"},
        {"target_range": "10.0.0.1, 10.0.0.3-10.0.0.254"},
        {"target_range": "the second floor"},
        {"target_range": "fd00:5::/64"},
    ],
)
def test_an_interrupted_scan_or_one_of_another_range_makes_nobody_gone(connection, options):
    scanned(connection, 0, "10.0.0.2")
    scanned(connection, 1, **options)
    assert systems(connection, gone=True) == []


def test_what_comes_after_the_end_of_its_scan_is_counted_and_not_gone(connection):
    scanned(connection, 0, "10.0.0.1", "10.0.0.2")
    scans.record_scans(connection, [finished(1)])
    assert counts(connection, 1) == (0, 0, 2)
    record_discoveries(connection, [seen("10.0.0.1", minute=1), seen("10.0.0.3", minute=1)])
    assert counts(connection, 1) == (1, 0, 1)
    assert [one.system_id for one in systems(connection, gone=True)] == [2]
    assert happened(connection, system_id=1) == [(1, "found", None, "10.0.0.1")]


def test_a_scan_that_is_delivered_again_changes_nothing(connection):
    scanned(connection, 0, "10.0.0.1")
    scanned(connection, 1)
    scanned(connection, 2, "10.0.0.1")
    before = happened(connection)
    scans.record_scans(connection, [finished(1), finished(0)])
    assert happened(connection) == before
    assert systems(connection, gone=True) == []


def test_a_scan_knows_the_completed_one_before_it_that_asked_as_much(connection):
    scanned(connection, 0, target_range="10.0.0.0/16")
    scanned(connection, 1, target_range="10.0.0.0/24", status="interrupted")
    scanned(connection, 2, target_range="10.0.0.0-10.0.0.9")
    scanned(connection, 3, target_range="10.0.0.0/24")
    assert scans.outcome(connection, 1)[1] is None
    assert scans.outcome(connection, 4)[1] == NOON
    assert scans.outcome(connection, 99) is None
    assert [one.scan_id for one in scans.recent(connection, limit=2)] == [3, 4]


@pytest.mark.parametrize(
    "text, read",
    [
        ("10.0.0.0/30", [("10.0.0.0", "10.0.0.3")]),
        ("10.0.0.1-10.0.0.9, 10.0.0.20", [("10.0.0.1", "10.0.0.9"), ("10.0.0.20", "10.0.0.20")]),
        ("10.0.0.1 - 9 10.0.0.5/32", [("10.0.0.1", "10.0.0.9"), ("10.0.0.5", "10.0.0.5")]),
        ("pc-1", None),
        ("10.0.0.1-pc", None),
        ("::1", [("::1", "::1")]),
        ("10.0.0.1-::1", None),
        ("fd00:5::1-fd00:5::9 fd00:6::/127", [("fd00:5::1", "fd00:5::9"), ("fd00:6::", "fd00:6::1")]),
        ("fe80::1%eth0-fe80::2%eth1", None),
        ("", []),
    ],
)
def test_ranges_are_read_as_labmon_and_as_people_write_them(text, read):
    found = scans.spans(text)
    assert found is read or [(str(first), str(last)) for first, last in found] == read


def test_a_full_sixteen_is_compared_quickly(connection):
    import time

    connection.execute("INSERT INTO departments VALUES (1)")
    connection.execute(
        "INSERT INTO systems (dept_id, ip_address, last_seen, seen_scan) "
        "SELECT 1, '10.0.0.0'::inet + n, %s::timestamptz + (n / 32768) * interval '2 min', 1 + n / 32768 "
        "FROM generate_series(0, 65535) n",
        [NOON],
    )
    odd = ", ".join(f"10.{n}.0.0-10.{n}.255.250" for n in range(0, 200))
    start = time.monotonic()
    scans.record_scans(connection, [finished(1, odd)])
    assert time.monotonic() - start < 10
    assert counts(connection, 1) == (0, 0, 32768)
