"""Two systems that are one machine: merged, read as one, and taken apart exactly as they were."""

from datetime import timedelta

import psycopg
import pytest

from labmon.app.inventory import life
from labmon.app.inventory.life import Changes, Who
from labmon.app.open import ingest_settings
from labmon.errors import UsageError
from labmon.ingest.handlers import handlers
from labmon.messages import Alert, Metrics, Readings, encode, utcnow
from labmon.store.events import newest
from labmon.store.inventory import history, labs, maintenance
from labmon.store.inventory.systems import systems
from labmon.store.metrics import pack
from labmon.store.metrics.rollup import LEVELS, METRICS
from tests.integration.store.conftest import NOON
from tests.integration.store.test_history import scanned
from tests.integration.store.test_inventory import A, B
from tests.integration.store.test_pack import part
from tests.integration.store.test_rollup import LATER, sum_up

ALICE = Who("alice", "here")
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def two(connection):
    """Systems 1 and 2 of department 1."""
    scanned(connection, 0, ("10.0.0.1", A, "pc-1"), ("10.0.0.2", B, "pc-2"))
    connection.commit()


@pytest.fixture
def put(connection, config, two):
    """Store readings, each (system, time, load), as a worker does."""
    handler = handlers(ingest_settings(config), record=False)[config.queue.metrics_queue]

    def put(*readings):
        bodies = [
            encode(Metrics(system_id=n, collected_at=at, metrics=Readings(load1=load, uptime_seconds=n)))
            for n, at, load in readings
        ]
        rejected = handler(connection, bodies)
        connection.commit()
        return [one.reason for one in rejected.values()]

    return put


def series(connection, system):
    """{time: load} of a system, packed or not; each time once."""
    rows = connection.execute(
        "SELECT collected_at, load1 FROM readings WHERE system_id = %s ORDER BY 1", [system]
    ).fetchall()
    assert len(rows) == len(dict(rows)), "a reading is there twice"
    return {at: round(load, 3) for at, load in rows}


def sums(connection, system):
    """All sums of a system: {(level, bucket): everything}."""
    columns = ", ".join(f"{name}_{part}" for name in METRICS for part in ("count", "min", "avg", "max"))
    return {
        (level.name, row[0]): tuple(row[1:])
        for level in LEVELS
        for row in connection.execute(
            f"SELECT bucket, readings, {columns} FROM {level.table} WHERE system_id = %s", [system]
        )
    }


def same_sums(found, expected):
    assert found.keys() == expected.keys()
    for key, values in found.items():
        there = [value for value in values if value is not None]
        assert there == pytest.approx([one for one in expected[key] if one is not None], rel=1e-6), key


def everything(connection):
    return {n: (series(connection, n), sums(connection, n)) for n in (1, 2)}


def pack_day(connection, day):
    sum_up(connection, LATER)
    assert pack.pack(connection, part(connection, day.date()))
    connection.commit()


def spread(system, first, count, load, step=MINUTE):
    return [(system, first + n * step, load + n / 100) for n in range(count)]


@pytest.fixture
def long(connection, put):
    """Two packed days and a plain one, in which they follow each other, overlap, and share times.

    Day 1: system 1 in the morning, system 2 from its last hour on. Day 2: both, some at the same times.
    Day 3: the same, not packed.
    """
    put(*spread(1, NOON - 2 * DAY, 150, 1.0), *spread(2, NOON - 2 * DAY + 140 * MINUTE, 150, 2.0))
    put(*spread(1, NOON - DAY, 90, 1.0, 2 * MINUTE), *spread(2, NOON - DAY, 90, 2.0, 3 * MINUTE))
    put(*spread(1, NOON, 30, 1.0, 2 * MINUTE), *spread(2, NOON, 30, 2.0, 3 * MINUTE))
    pack_day(connection, NOON - 2 * DAY)
    pack_day(connection, NOON - DAY)
    sum_up(connection, LATER)


def test_merged_is_one_series_in_which_the_first_wins(connection, put, long):
    before = everything(connection)
    expected = before[2][0] | before[1][0]
    shared = before[2][0].keys() & before[1][0].keys()
    assert shared
    outcome = life.merge(connection, 1, 2, ALICE)
    connection.commit()
    assert outcome.did == "system 2 (pc-2, 10.0.0.2) is part of it now"
    copied = len(before[2][0]) - len(shared)
    assert outcome.notes[0].startswith(f"{copied} readings ({len(shared)} of a time of which it had one")
    assert series(connection, 1) == expected
    sum_up(connection, LATER)
    merged = sums(connection, 1)
    assert sum(values[0] for (level, _), values in merged.items() if level == "1d") == len(expected)
    assert sum(values[0] for (level, _), values in merged.items() if level == "5m") == len(expected)
    # the same as if it always had been one
    connection.execute("DELETE FROM metrics_5m WHERE system_id = 1")
    connection.execute("DELETE FROM metrics_1h WHERE system_id = 1")
    connection.execute("DELETE FROM metrics_1d WHERE system_id = 1")
    connection.execute(
        "INSERT INTO rollup_due SELECT DISTINCT '5m', labmon_bucket('5 minutes', collected_at), ARRAY[1] "
        "FROM readings WHERE system_id = 1"
    )
    sum_up(connection, LATER)
    same_sums(merged, sums(connection, 1))


def test_split_is_exactly_what_it_was(connection, put, long):
    before = everything(connection)
    life.merge(connection, 1, 2, ALICE)
    connection.commit()
    sum_up(connection, LATER)
    life.split(connection, 1, None, ALICE)
    connection.commit()
    sum_up(connection, LATER)
    after = everything(connection)
    for system in (1, 2):
        assert after[system][0] == before[system][0]
        same_sums(after[system][1], before[system][1])


def test_split_after_packing_and_new_readings_leaves_what_came_since(connection, put, long):
    before = everything(connection)
    life.merge(connection, 1, 2, ALICE)
    connection.commit()
    # of its own, under the number that is gone, and late ones within an hour that came from the other
    new = [
        (1, NOON + 3 * DAY, 7.0),
        (2, NOON + 3 * DAY + MINUTE, 8.0),
        (2, NOON - DAY + timedelta(seconds=30), 9.0),
    ]
    assert put(*new) == []
    for day in (NOON - DAY, NOON):
        pack_day(connection, day)
    came = {at: load for _, at, load in new}
    assert series(connection, 1) == before[2][0] | before[1][0] | came
    life.undo(connection, [1], ALICE)
    connection.commit()
    sum_up(connection, LATER)
    after = everything(connection)
    assert after[1][0] == before[1][0] | came
    assert after[2][0] == before[2][0]
    same_sums(after[2][1], before[2][1])
    assert sum(v[0] for (level, _), v in after[1][1].items() if level == "1d") == len(after[1][0])


def test_sums_whose_readings_are_gone_are_merged_and_split_as_well(connection, put, long):
    connection.execute("DELETE FROM metrics WHERE collected_at < %s", [NOON])
    connection.execute("DELETE FROM metrics_packed")
    connection.commit()
    before = everything(connection)
    life.merge(connection, 1, 2, ALICE)
    connection.commit()
    sum_up(connection, LATER)
    assert sums(connection, 1).keys() == before[1][1].keys() | before[2][1].keys()
    life.split(connection, 1, 2, ALICE)
    connection.commit()
    sum_up(connection, LATER)
    after = everything(connection)
    for system in (1, 2):
        same_sums(after[system][1], before[system][1])


def test_what_waits_to_be_summed_up_is_summed_up_for_both(connection, put):
    put(*spread(2, NOON, 20, 2.0))
    life.merge(connection, 1, 2, ALICE)
    connection.commit()
    sum_up(connection, LATER)
    assert sum(v[0] for (level, _), v in sums(connection, 1).items() if level == "1d") == 20
    life.split(connection, 1, 2, ALICE)
    connection.commit()
    sum_up(connection, LATER)
    assert sums(connection, 1) == {}
    assert sum(v[0] for (level, _), v in sums(connection, 2).items() if level == "1d") == 20


def test_no_rule_judges_what_a_merge_copies(connection, config, put):
    connection.execute("UPDATE alert_rules SET hold = '0' WHERE name = 'cpu_high'")
    at = utcnow()
    put((2, at, 1.0))
    connection.execute("UPDATE metrics SET cpu_percent = 99.9")
    life.merge(connection, 1, 2, ALICE)
    assert connection.execute("SELECT count(*) FROM alert_incidents").fetchone() == (0,)


def test_the_one_has_the_place_of_whichever_was_seen_last_and_what_people_said_of_it(connection, two):
    lab = labs.make(connection, 1, "A-101")
    life.set_(connection, [1], Changes(lab_id=lab, seat=(3, 2)), ALICE)
    life.set_(connection, [2], Changes(port=2222), ALICE)
    scanned(connection, 1, ("10.0.0.2", B, "pc-new"))
    life.merge(connection, 1, 2, ALICE)
    (one,) = systems(connection)
    assert (one.ip_address, one.mac_address, one.hostname) == ("10.0.0.2", B, "pc-new")
    assert (one.lab, one.seat_column, one.ssh_port) == ("A-101", 3, 2222)
    scanned(connection, 2, ("10.0.0.2", B, "pc-new"))
    assert [one.system_id for one in systems(connection, everything=True)] == [1]
    (outcome,) = life.undo(connection, [1], ALICE)
    assert outcome.notes == []
    one, other = systems(connection)
    assert (one.ip_address, one.mac_address, one.hostname, one.ssh_port) == ("10.0.0.1", A, "pc-1", None)
    assert (one.lab, one.seat_column) == ("A-101", 3)
    assert (other.ip_address, other.mac_address, other.hostname) == ("10.0.0.2", B, "pc-new")
    assert (other.ssh_port, other.lab) == (2222, None)
    scanned(connection, 3, ("10.0.0.2", B, "pc-new"), ("10.0.0.1", A, "pc-1"))
    assert [one.system_id for one in systems(connection)] == [1, 2]


def test_what_is_taken_by_others_meanwhile_is_not_given_back_and_said(connection, two):
    scanned(connection, 1, ("10.0.0.2", B))
    life.merge(connection, 1, 2, ALICE)
    scanned(connection, 2, ("10.0.0.2", B), ("10.0.0.1", "00:1b:44:11:3a:c0"))
    outcome = life.split(connection, 1, None, ALICE)
    assert outcome.notes == ["system 1 lost its address 10.0.0.1: it is that of system 3 now"]
    assert systems(connection, ids=[1])[0].ip_address is None


def test_history_alerts_and_plans_move_and_come_back(connection, config, put):
    connection.execute("UPDATE alert_rules SET hold = '0' WHERE name = 'cpu_high'")
    handler = handlers(ingest_settings(config))[config.queue.alert_queue]
    alert = Alert(system_id=2, alert_type="smoke", severity="warning", value=1, threshold=0, at=utcnow())
    assert handler(connection, [encode(alert)]) == {}
    connection.execute(
        "INSERT INTO alert_rules (name, metric, threshold, system_id) VALUES ('cpu_high', 'load1', 1, 2)"
    )
    connection.execute(
        "INSERT INTO maintenance (mode, system_id, starts_at, ends_at) "
        "VALUES ('mute', 2, now(), '2100-01-01')"
    )
    connection.commit()

    def whose():
        tables = ("alert_incidents", "alert_rules", "maintenance", "system_history")
        found = {}
        for table in tables:
            rows = connection.execute(f"SELECT system_id, count(*) FROM {table} GROUP BY 1 ORDER BY 1")
            found[table] = {number: count for number, count in rows if number}
        return found

    before = whose()
    life.merge(connection, 1, 2, ALICE)
    assert {number for rows in whose().values() for number in rows} == {1}
    assert [one.change for one in history.changes(connection, system_id=1)] == ["found", "found", "merged"]
    state, reason = connection.execute("SELECT state, reason FROM alert_incidents").fetchone()
    assert (state, reason) == ("resolved", "merged into system 1")
    life.split(connection, 1, 2, ALICE)
    after = whose()
    assert after.pop("system_history") == {1: 3, 2: 2}  # merged, split; split
    before.pop("system_history")
    assert after == before
    assert maintenance.maintenances(connection, utcnow())[0].system_id == 2


def test_messages_of_the_number_that_is_gone_are_the_others(connection, config, put):
    handler = handlers(ingest_settings(config))[config.queue.metrics_queue]
    at = utcnow()
    first = Metrics(system_id=2, collected_at=at, metrics=Readings(load1=1.0))
    second = Metrics(system_id=2, collected_at=at + MINUTE, metrics=Readings(load1=2.0))
    assert handler(connection, [encode(first)]) == {}
    life.merge(connection, 1, 2, ALICE)
    assert handler(connection, [encode(second)]) == {}
    assert series(connection, 1) == {at: 1.0, at + MINUTE: 2.0}
    assert [one.system_id for one in newest(connection, system=1)] == [2, 2]
    assert systems(connection)[0].last_collected == at + MINUTE


def test_of_three_each_comes_back_from_where_it_went(connection, put):
    scanned(connection, 1, ("10.0.0.1", A), ("10.0.0.2", B), ("10.0.0.3", "00:1b:44:11:3a:c0"))
    put((1, NOON, 1.0), (2, NOON + MINUTE, 2.0), (3, NOON + 2 * MINUTE, 3.0))
    life.merge(connection, 2, 3, ALICE)
    life.merge(connection, 1, 2, ALICE)
    assert list(series(connection, 1).values()) == [1.0, 2.0, 3.0]
    with pytest.raises(UsageError, match="system 3 was not merged into system 1; these were: 2"):
        life.split(connection, 1, 3, ALICE)
    with pytest.raises(UsageError, match="system 2 is part of system 1 now"):
        life.split(connection, 2, 3, ALICE)
    life.split(connection, 1, None, ALICE)
    assert list(series(connection, 1).values()) == [1.0]
    life.split(connection, 2, None, ALICE)
    assert [list(series(connection, n).values()) for n in (1, 2, 3)] == [[1.0], [2.0], [3.0]]


def test_a_split_is_undone_too_and_then_the_merge(connection, put):
    put((1, NOON, 1.0), (2, NOON + MINUTE, 2.0))
    life.merge(connection, 1, 2, ALICE)
    life.split(connection, 1, 2, ALICE)
    (outcome,) = life.undo(connection, [1], ALICE)
    assert outcome.did.endswith("system 2 (pc-2, 10.0.0.2) is part of it again")
    assert list(series(connection, 1).values()) == [1.0, 2.0]
    life.undo(connection, [1], ALICE)
    assert list(series(connection, 1).values()) == [1.0]
    with pytest.raises(UsageError, match="nothing is left to undo"):
        life.undo(connection, [1], ALICE)


def test_a_retired_one_stays_retired_and_says_how_to_measure_it(connection, two):
    life.take_out(connection, [1], "retired", ALICE)
    outcome = life.merge(connection, 1, 2, ALICE)
    assert outcome.notes[1] == "it is retired. To have it measured: labmon systems restore 1"
    assert life.restore(connection, [1], ALICE)[0].done


def test_a_system_is_not_merged_with_itself_nor_with_none(connection, two):
    with pytest.raises(UsageError, match="system 1 cannot be merged with itself"):
        life.merge(connection, 1, 1, ALICE)
    with pytest.raises(UsageError, match="there is no system 9"):
        life.merge(connection, 1, 9, ALICE)
    with pytest.raises(UsageError, match="nothing was merged into system 1"):
        life.split(connection, 1, None, ALICE)


def test_a_worker_that_stores_meanwhile_stores_for_the_one_that_is_left(connection, config, store_url, put):
    """Its first attempt fails, since the system is gone; as ever it stores the batch again."""
    handler = handlers(ingest_settings(config))[config.queue.metrics_queue]
    body = encode(Metrics(system_id=2, collected_at=NOON, metrics=Readings(load1=5.0)))
    with psycopg.connect(store_url) as other:
        life.merge(other, 1, 2, ALICE)  # not committed yet
        with psycopg.connect(store_url) as worker:
            worker.execute("SET lock_timeout = '500ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                handler(worker, [body])
    assert handler(connection, [body]) == {}
    assert series(connection, 1) == {NOON: 5.0}
