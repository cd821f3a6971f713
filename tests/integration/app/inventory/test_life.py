"""Systems are taken out, let in, changed and removed; and each step but the last is taken back again."""

import threading
from datetime import timedelta

import msgspec
import psycopg
import pytest

from labmon.alerts.incidents import standing
from labmon.app.inventory import life
from labmon.app.inventory.labs import set_lab
from labmon.app.inventory.life import Changes, Who
from labmon.app.open import ingest_settings
from labmon.errors import UsageError
from labmon.ingest.handlers import handlers
from labmon.messages import Metrics, Readings, SystemStatus, encode, utcnow
from labmon.store.inventory import departments, history, labs
from labmon.store.inventory.maintenance import Scope
from labmon.store.inventory.states import SystemStates
from labmon.store.inventory.statuses import record_statuses
from labmon.store.inventory.systems import fleet, record_discoveries, systems
from labmon.store.metrics.latest import latest
from labmon.store.metrics.summary import summaries
from tests.integration.store.test_history import finished, scanned
from tests.integration.store.test_inventory import NOON, A, B, seen

ALICE = Who("alice", "here")


@pytest.fixture
def two(connection):
    """Systems 1 and 2 of department 1, known by their MAC addresses."""
    scanned(connection, 0, ("10.0.0.1", A, "pc-1"), ("10.0.0.2", B, "pc-2"))
    connection.commit()


def statuses(connection):
    return {one.system_id: one.status for one in systems(connection, ids=range(1, 9))}


def happened(connection, system, *kinds):
    return [
        (one.change, one.old_value, one.new_value)
        for one in history.changes(connection, system_id=system, kinds=kinds or None)
    ]


def did(outcomes):
    return [(one.system_id, one.done, one.did, one.notes) for one in outcomes]


def audited(connection):
    return connection.execute("SELECT actor, action, object FROM audit ORDER BY audit_id").fetchall()


def reading(system, at, **values):
    return Metrics(system_id=system, collected_at=at, metrics=Readings(**(values or {"load1": 1.0})))


def store(connection, config, *messages):
    """As a worker does. Returns the reasons of those that were rejected."""
    queues = {Metrics: config.queue.metrics_queue, SystemStatus: config.queue.discovery_queue}
    reasons = []
    for one in messages:
        handler = handlers(ingest_settings(config))[queues[type(one)]]
        reasons += [rejection.reason for rejection in handler(connection, [encode(one)]).values()]
    connection.commit()
    return reasons


# retire and ignore


@pytest.mark.parametrize("status", ["retired", "ignored"])
def test_what_is_taken_out_is_neither_measured_listed_counted_nor_judged(connection, two, status):
    lab = labs.make(connection, 1, "A-101")
    labs.place(connection, [1, 2], lab)
    life.take_out(connection, [1], status, ALICE, comment="sold")
    assert statuses(connection) == {1: status, 2: "discovered"}
    assert [one.system_id for one in systems(connection)] == [2]
    assert [one.system_id for one in systems(connection, statuses=[status])] == [1]
    assert [one.system_id for one in systems(connection, everything=True)] == [1, 2]
    assert [one.system_id for one in fleet(connection).machines] == [2]
    assert [one.system_id for one in SystemStates().read(connection, utcnow())] == [2]
    assert [one.system_id for one in latest(connection, utcnow())] == [2]
    assert [(one.name, one.systems) for one in labs.labs(connection)] == [("A-101", 1)]
    assert [one.systems for one in departments.departments(connection)] == [1]
    assert [one.systems for one in summaries(connection, utcnow())] == [1]
    for view in ("alert_coverage", "alert_groups"):
        judged = connection.execute(f"SELECT DISTINCT system_id FROM {view}").fetchall()
        assert judged == [(2,)]
    assert happened(connection, 1, "status") == [("status", None, status)]
    assert audited(connection) == [("alice", f"systems.{life.VERBS[status][:-1]}e", "system 1")]


def test_a_scan_says_that_a_retired_machine_answered_and_makes_no_new_one_of_it(connection, two):
    life.take_out(connection, [1], "retired", ALICE)
    scanned(connection, 1, ("10.0.0.1", A), ("10.0.0.2", B))
    assert history.changes(connection, scan_id=2, kinds=["answered"])[0].new_value == "10.0.0.1"
    scanned(connection, 2, ("10.0.0.77", A), ("10.0.0.2", B))
    assert statuses(connection) == {1: "retired", 2: "discovered"}
    scanned(connection, 3, ("10.0.0.77", A), ("10.0.0.2", B))
    # of each address only the last time
    assert happened(connection, 1, "answered") == [
        ("answered", None, "10.0.0.1"),
        ("answered", None, "10.0.0.77"),
    ]
    assert happened(connection, 1, "moved", "back", "gone") == []


def test_the_address_of_a_retired_machine_with_another_mac_is_a_new_system(connection, two):
    life.take_out(connection, [1], "retired", ALICE)
    scanned(connection, 1, ("10.0.0.1", "00:1b:44:11:3a:c0"), ("10.0.0.2", B))
    assert statuses(connection) == {1: "retired", 2: "discovered", 3: "discovered"}
    assert happened(connection, 1, "lost", "answered") == [("lost", "10.0.0.1", None)]


def test_scans_say_nothing_about_an_ignored_machine(connection, two):
    life.take_out(connection, [1], "ignored", ALICE)
    scanned(connection, 1, ("10.0.0.50", A, "printer"), ("10.0.0.2", B, "pc-2"))
    scanned(connection, 2, ("10.0.0.2", B))
    assert history.changes(connection, scan_id=2) + history.changes(connection, scan_id=3) == []
    assert statuses(connection) == {1: "ignored", 2: "discovered"}
    (printer,) = systems(connection, ids=[1])
    assert (printer.ip_address, printer.hostname) == ("10.0.0.50", "printer")


def test_readings_of_a_retired_machine_are_kept_and_change_nothing(connection, config, two):
    life.take_out(connection, [1], "retired", ALICE)
    connection.commit()
    at = utcnow()
    told = SystemStatus(system_id=1, status="offline", since=at, checked_at=at)
    assert store(connection, config, reading(1, at, cpu_percent=99.9), told) == []
    assert connection.execute("SELECT count(*) FROM metrics WHERE system_id = 1").fetchone() == (1,)
    (one,) = systems(connection, ids=[1])
    assert (one.status, one.last_collected) == ("retired", at)


def test_the_alerts_of_what_is_taken_out_end_and_their_receivers_are_told(connection, config, two):
    connection.execute(
        "UPDATE alert_rules SET hold = '0', enabled = name = 'cpu_high' WHERE kind = 'threshold'"
    )
    connection.commit()
    store(connection, config, reading(1, utcnow(), cpu_percent=99.9))
    assert len(standing(connection, Scope(system_id=1))) == 1
    (outcome,) = life.take_out(connection, [1], "retired", ALICE)
    assert outcome.notes == ["1 of its alerts ended"]
    assert standing(connection, Scope(system_id=1)) == []
    reason, state = connection.execute("SELECT reason, state FROM alert_incidents").fetchone()
    assert (reason, state) == ("the system is retired", "resolved")
    told = connection.execute("SELECT body ->> 'state' FROM alert_outbox ORDER BY outbox_id").fetchall()
    assert told == [("firing",), ("resolved",)]
    connection.commit()
    store(connection, config, reading(1, utcnow() + timedelta(seconds=1), cpu_percent=99.9))
    assert standing(connection, Scope(system_id=1)) == []


def test_no_scan_makes_gone_what_is_taken_out(connection, two):
    life.take_out(connection, [1], "retired", ALICE)
    scanned(connection, 1, ("10.0.0.2", B))
    assert happened(connection, 1, "gone") == []


def test_what_is_taken_out_already_stays_so_and_says_it(connection, two):
    life.take_out(connection, [1], "retired", ALICE)
    assert did(life.take_out(connection, [1, 2], "retired", ALICE)) == [
        (1, False, "is retired already", []),
        (2, True, "retired", []),
    ]


def test_restored_is_what_it_was_but_for_a_seat_that_another_one_took(connection, two):
    lab = labs.make(connection, 1, "A-101")
    life.set_(connection, [1], Changes(lab_id=lab, seat=(3, 2)), ALICE)
    record_statuses(connection, [SystemStatus(system_id=1, status="active", since=NOON, checked_at=NOON)])
    life.take_out(connection, [1], "retired", ALICE)
    life.set_(connection, [2], Changes(lab_id=lab, seat=(3, 2)), ALICE)
    (outcome,) = life.restore(connection, [1], ALICE)
    assert "active" in outcome.did
    assert outcome.notes == ["without its seat 3,2, which system 2 has now"]
    one, other = systems(connection)
    assert (one.status, one.lab, one.seat_column) == ("active", "A-101", None)
    assert (other.seat_column, other.seat_row) == (3, 2)


def test_only_what_was_taken_out_can_be_restored(connection, two):
    assert did(life.restore(connection, [1], ALICE)) == [(1, False, "nothing changed", [])]
    with pytest.raises(UsageError, match="there is no system 9"):
        life.restore(connection, [9], ALICE)


# quarantine


def test_what_a_scan_finds_in_a_department_with_quarantine_waits_until_it_is_let_in(connection):
    departments.set_department(connection, 1, new_as="quarantine")
    scanned(connection, 0, ("10.0.0.1", A), ("10.0.0.2", B))
    record_discoveries(connection, [seen("10.0.9.1", dept=2)])
    assert statuses(connection) == {1: "quarantined", 2: "quarantined", 3: "discovered"}
    assert [one.system_id for one in fleet(connection).machines] == [3]
    assert life.quarantined(connection, dept=1) == [1, 2]
    assert life.quarantined(connection, dept=2) == []
    assert did(life.accept(connection, [2], ALICE)) == [(2, True, "discovered", [])]
    assert [one.system_id for one in fleet(connection).machines] == [2, 3]
    (found,) = [one for one in departments.departments(connection, dept=1)]
    assert (found.systems, found.quarantined, found.new_as) == (1, 1, "quarantine")
    life.undo(connection, [2], ALICE)
    assert life.quarantined(connection) == [1, 2]


def test_a_sender_can_ask_for_quarantine_where_the_department_does_not(connection):
    one, other = seen("10.0.0.1"), seen("10.0.0.2")
    record_discoveries(connection, [msgspec.structs.replace(one, new_as="quarantine"), other])
    assert statuses(connection) == {1: "quarantined", 2: "discovered"}


def test_a_machine_in_quarantine_that_moves_is_the_same_one(connection):
    departments.set_department(connection, 1, new_as="quarantine")
    scanned(connection, 0, ("10.0.0.1", A))
    scanned(connection, 1, ("10.0.0.9", A))
    assert statuses(connection) == {1: "quarantined"}
    assert systems(connection, ids=[1])[0].ip_address == "10.0.0.9"


# set and undo


def test_each_change_is_in_the_history_and_undone_the_last_first(connection, two):
    lab = labs.make(connection, 1, "A-101")
    life.set_(connection, [1], Changes(lab_id=lab, seat=(3, 2), port=2222), ALICE)
    life.set_(connection, [1], Changes(hostname="desk", user="monitor", key="~/k"), ALICE)
    life.set_(connection, [1], Changes(shared_mac=True, seat=(4, 2)), ALICE)
    life.take_out(connection, [1], "retired", ALICE)
    assert happened(connection, 1, "set") == [
        ("set", "no lab", "lab A-101"),
        ("set", "no seat", "seat 3,2"),
        ("set", "port as configured", "port 2222"),
        ("set", "host name pc-1", "host name desk"),
        ("set", "account as configured", "account monitor"),
        ("set", "key as configured", "key ~/k"),
        ("set", "seat 3,2", "seat 4,2"),
        ("set", "MAC its own", "MAC shared"),
    ]
    steps = []
    for _ in range(4):
        (outcome,) = life.undo(connection, [1], ALICE)
        assert outcome.notes == []
        steps.append((outcome.did.split()[0], outcome.did.partition("undone: ")[2]))
    assert steps == [
        ("retire", "discovered again"),
        ("set", "seat 3,2, MAC its own again"),
        ("set", "host name pc-1, account as configured, key as configured again"),
        ("set", "no lab, no seat, port as configured again"),
    ]
    with pytest.raises(UsageError, match="nothing is left to undo for system 1"):
        life.undo(connection, [1], ALICE)
    (one,) = systems(connection, ids=[1])
    assert (
        one.hostname,
        one.lab,
        one.seat_column,
        one.ssh_port,
        one.ssh_user,
        one.ssh_key,
        one.mac_flag,
    ) == (*("pc-1", None, None, None, None, None, None),)
    assert len(happened(connection, 1, "undone")) == 4
    assert [action for _, action, _ in audited(connection)].count("systems.undo") == 4


def test_undo_leaves_what_a_scan_changed_since_and_says_it(connection, two):
    life.set_(connection, [1], Changes(hostname="desk", port=2222), ALICE)
    scanned(connection, 1, ("10.0.0.1", A, "pc-100"), ("10.0.0.2", B))
    (outcome,) = life.undo(connection, [1], ALICE)
    assert outcome.notes == ["changed since, and left: host name pc-100"]
    (one,) = systems(connection, ids=[1])
    assert (one.hostname, one.ssh_port) == ("pc-100", None)


def test_undo_brings_back_a_lab_and_its_seat_unless_somebody_sits_there(connection, two):
    lab = labs.make(connection, 1, "A-101")
    life.set_(connection, [1], Changes(lab_id=lab, seat=(3, 2)), ALICE)
    life.set_(connection, [1], Changes(no_lab=True), ALICE)
    life.undo(connection, [1], ALICE)
    (one,) = systems(connection, ids=[1])
    assert (one.lab, one.seat_column, one.seat_row) == ("A-101", 3, 2)
    life.set_(connection, [1], Changes(no_lab=True), ALICE)
    life.set_(connection, [2], Changes(lab_id=lab, seat=(3, 2)), ALICE)
    (outcome,) = life.undo(connection, [1], ALICE)
    assert outcome.notes == ["changed since, and left: seat 3,2, which another system has now"]
    (one,) = systems(connection, ids=[1])
    assert (one.lab, one.seat_column) == ("A-101", None)


def test_a_lab_that_is_gone_does_not_come_back(connection, two):
    lab = labs.make(connection, 1, "A-101")
    life.set_(connection, [1], Changes(lab_id=lab), ALICE)
    life.set_(connection, [1], Changes(no_lab=True, port=99), ALICE)
    labs.remove(connection, lab)
    (outcome,) = life.undo(connection, [1], ALICE)
    assert outcome.notes == [f"changed since, and left: lab {lab}, which is gone, or of another department"]
    assert systems(connection, ids=[1])[0].ssh_port is None


def test_what_a_lab_takes_in_is_a_step_too(connection, two):
    set_lab(connection, "A-101", 1, name=None, add=["10.0.0.1-2"], remove=[], notice=print)
    life.undo(connection, [1], ALICE)
    assert [one.lab for one in systems(connection)] == [None, "A-101"]


def test_a_seat_taken_twice_is_refused_with_who_has_it(connection, two):
    lab = labs.make(connection, 1, "A-101")
    life.set_(connection, [1], Changes(lab_id=lab, seat=(3, 2)), ALICE)
    with pytest.raises(UsageError, match=r"seat 3,2 of lab A-101 is that of system 1 \(pc-1\)"):
        life.set_(connection, [2], Changes(lab_id=lab, seat=(3, 2)), ALICE)


def test_the_status_of_what_was_taken_out_is_not_set_by_the_way(connection, two):
    life.take_out(connection, [1], "retired", ALICE)
    with pytest.raises(UsageError, match="labmon systems restore 1"):
        life.set_(connection, [1], Changes(status="active"), ALICE)


def test_maintenance_is_undone_although_the_machine_was_measured_before(connection, config, two):
    store(connection, config, reading(1, utcnow()))
    life.set_(connection, [1], Changes(status="maintenance"), ALICE)
    assert statuses(connection)[1] == "maintenance"
    life.undo(connection, [1], ALICE)
    assert statuses(connection)[1] == "active"


# remove


def test_remove_says_what_goes_and_leaves_nothing_of_it(connection, config, two):
    at = utcnow()
    store(connection, config, *(reading(n, at - timedelta(minutes=m)) for n in (1, 2) for m in range(5)))
    life.take_out(connection, [1], "retired", ALICE)
    life.merge(connection, 1, 2, ALICE)
    doomed = life.doomed(connection, [1])
    assert doomed["readings"] == 10 and doomed["messages"] == 10
    assert doomed["changes"] >= 4
    assert life.remove(connection, [1], ALICE) == doomed
    tables = connection.execute(
        "SELECT relname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid "
        "WHERE attname = 'system_id' AND relkind IN ('r', 'p') AND NOT relispartition"
    ).fetchall()
    assert len(tables) > 15
    for (table,) in tables:
        assert connection.execute(f"SELECT count(*) FROM {table} WHERE system_id IN (1, 2)").fetchone() == (
            0,
        )
    assert connection.execute("SELECT count(*) FROM events").fetchone() == (0,)
    assert ("alice", "systems.remove", "system 1") in audited(connection)
    with pytest.raises(UsageError, match="there is no system 1"):
        life.undo(connection, [1], ALICE)


def test_remove_leaves_the_others_messages(connection, config, two):
    handler = handlers(ingest_settings(config))[config.queue.metrics_queue]
    at = utcnow()
    handler(connection, [encode(reading(n, at)) for n in (1, 2)])
    life.remove(connection, [1], ALICE)
    assert connection.execute("SELECT system_id FROM events").fetchall() == [(2,)]


# beside scans and workers


def test_a_scan_waits_for_a_change_and_neither_fails(connection, store_url, two):
    life.take_out(connection, [1], "retired", ALICE)
    done = threading.Event()

    def scan():
        with psycopg.connect(store_url) as other:
            scanned(other, 1, ("10.0.0.1", A), ("10.0.0.2", B))
        done.set()

    beside = threading.Thread(target=scan)
    beside.start()
    assert not done.wait(0.5)
    connection.commit()
    beside.join(10)
    assert done.is_set()
    assert happened(connection, 1, "answered") == [("answered", None, "10.0.0.1")]
    connection.commit()


def test_finished_scans_of_what_is_taken_out_count_it_neither_new_nor_gone(connection, two):
    life.take_out(connection, [1, 2], "ignored", ALICE)
    scanned(connection, 1, ("10.0.0.1", A))
    row = connection.execute("SELECT systems_new, systems_moved, systems_gone FROM scans WHERE scan_id = 2")
    assert row.fetchone() == (0, 0, 0)
    assert finished(1).status == "completed"
