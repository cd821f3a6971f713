"""What machines say of themselves, as it is stored: changes, and nothing but changes."""

from datetime import UTC, datetime, timedelta

import pytest

from labmon.app.open import ingest_settings
from labmon.facts import Disk, Facts, FileSystem, MachineFacts
from labmon.ingest.handlers import handlers
from labmon.messages import encode
from labmon.store.inventory import facts as store
from labmon.store.inventory import history
from labmon.store.inventory.facts import Condition

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
OS = MachineFacts(os="Ubuntu", os_version="24.04", cpu_cores=8, serial="PF3ABC12")


@pytest.fixture
def machine(connection):
    connection.execute("INSERT INTO departments VALUES (1)")
    connection.execute(
        "INSERT INTO systems (system_id, dept_id, ip_address, hostname) OVERRIDING SYSTEM VALUE "
        "VALUES (1, 1, '10.0.0.1', NULL), (2, 1, '10.0.0.2', 'scanned')"
    )
    return connection


def told(facts=None, minutes=0, system=1, filesystems=None):
    at = AT + timedelta(minutes=minutes)
    return Facts(system_id=system, asked_at=at, facts=facts, filesystems=filesystems)


def disk(mount, percent, inodes=5.0):
    return FileSystem(
        mount=mount,
        total_bytes=1000,
        used_bytes=int(percent * 10),
        used_percent=percent,
        inodes_percent=inodes,
    )


def test_what_changed_is_history_and_what_is_told_first_or_again_is_not(machine):
    store.record_facts(machine, [told(OS)])
    store.record_facts(machine, [told(OS, minutes=1)])
    assert store.changes(machine) == []
    store.record_facts(machine, [told(MachineFacts(os_version="26.04", cpu_cores=8), minutes=2)])
    (change,) = store.changes(machine)
    assert (change.fact, change.old_value, change.new_value) == ("os_version", "24.04", "26.04")
    (one,) = store.facts(machine)
    assert one.facts == MachineFacts(os="Ubuntu", os_version="26.04", cpu_cores=8, serial="PF3ABC12")
    assert store.changes(machine, first=AT + timedelta(minutes=3)) == []


def test_what_changes_all_the_time_floods_nothing(machine):
    for minute in range(5):
        facts = MachineFacts(
            boot_at=AT + timedelta(minutes=minute), pending_updates=minute, failed_units=["a"] * minute
        )
        store.record_facts(machine, [told(facts, minutes=minute)])
    assert store.changes(machine) == []
    assert store.facts(machine)[0].facts.pending_updates == 4


def test_what_is_late_changes_nothing(machine):
    store.record_facts(machine, [told(OS, minutes=5), told(MachineFacts(os="Windows"), minutes=1)])
    store.record_facts(machine, [told(MachineFacts(os="Windows"))])
    assert store.facts(machine)[0].facts.os == "Ubuntu"
    store.record_facts(machine, [told(filesystems=[disk("/", 20)], minutes=5)])
    store.record_facts(machine, [told(filesystems=[disk("/", 99), disk("/old", 99)])])
    assert [(one.mount, one.used_percent) for one in store.mounts(machine, 1)] == [("/", 20)]


def test_a_serial_number_that_nobody_filled_in_is_dropped_whoever_sends_it(machine):
    facts = MachineFacts(
        serial="To be filled by O.E.M.",
        vendor="System manufacturer",
        disks=[Disk(name="sda", serial="0000000000")],
    )
    store.record_facts(machine, [told(facts), told(facts, system=2)])
    for one in store.facts(machine):
        assert (one.facts.serial, one.facts.vendor, one.facts.disks) == (None, None, [Disk(name="sda")])
    assert machine.execute("SELECT count(*) FROM systems").fetchone() == (2,)


def test_a_name_is_taken_where_there_is_none(machine):
    named = MachineFacts(hostname="pc-17")
    store.record_facts(machine, [told(MachineFacts(hostname="localhost.localdomain"))])
    assert machine.execute("SELECT hostname FROM systems WHERE system_id = 1").fetchone() == (None,)
    store.record_facts(machine, [told(named, minutes=1), told(named, minutes=1, system=2)])
    rows = machine.execute("SELECT hostname FROM systems ORDER BY system_id").fetchall()
    assert rows == [("pc-17",), ("scanned",)]
    assert [one.new_value for one in history.changes(machine, kinds=["renamed"])] == ["pc-17"]
    store.record_facts(machine, [told(MachineFacts(hostname="pc-18"), minutes=2)])
    assert machine.execute("SELECT hostname FROM systems WHERE system_id = 1").fetchone() == ("pc-17",)


@pytest.mark.parametrize(
    "conditions, found",
    [
        ([("os", "~", "ubu")], [1]),
        ([("os", "=", "ubuntu"), ("cpu_cores", ">", "7")], [1]),
        ([("os", "!=", "Ubuntu")], [2]),
        ([("cpu_cores", "<", "8")], [2]),
        ([("os", "~", "u"), ("cpu_cores", ">", "100")], []),
        ([("os", "=", "x' OR true --")], []),
        ([("disks", "~", "samsung")], [2]),
        ([("os", ">", "1")], []),
    ],
)
def test_systems_are_found_by_their_facts(machine, conditions, found):
    other = MachineFacts(os="Fedora Linux", cpu_cores=4, disks=[Disk(name="sda", model="Samsung SSD")])
    store.record_facts(machine, [told(OS), told(other, system=2)])
    wanted = [Condition(*one) for one in conditions]
    assert sorted(store.matching(machine, wanted)) == found
    assert [one.system_id for one in store.facts(machine, conditions=wanted)] == found


def test_what_is_not_mounted_any_more_is_gone(machine):
    store.record_facts(machine, [told(filesystems=[disk("/", 20), disk("/home", 50)])])
    store.record_facts(machine, [told(filesystems=[disk("/", 20), disk("/srv", 10, None)], minutes=1)])
    assert [(one.mount, one.inodes_percent) for one in store.mounts(machine, 1)] == [("/", 5), ("/srv", None)]
    store.record_facts(machine, [told(filesystems=[], minutes=2)])
    assert store.mounts(machine, 1) == []


def test_the_queue_takes_facts_beside_what_else_comes_there(machine, config):
    handle = handlers(ingest_settings(config))["discovery_queue"]
    bodies = [
        encode(told(OS)),
        encode(told(OS, system=99)),
        b'{"system_id": 1, "asked_at": "2026-03-02T10:00:00Z", "facts": {"os": "' + b"x" * 1_000_000 + b'"}}',
        b'{"system_id": 1, "asked_at": "2026-03-02T10:00:00Z"}',
        b'{"system_id": 1, "asked_at": "2026-03-02T10:00:00Z", "facts": {"cpu_cores": "many"}}',
    ]
    rejected = {place: one.reason for place, one in handle(machine, bodies).items()}
    assert rejected.keys() == {1, 2, 3, 4}
    assert "unknown system" in rejected[1]
    assert "bytes are too many" in rejected[2]
    assert "neither" in rejected[3]
    assert "cpu_cores" in rejected[4]
    assert [one.system_id for one in store.facts(machine)] == [1]
