import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg.errors import ForeignKeyViolation

from labmon.messages import Discovery, Metrics, Readings
from labmon.store.inventory.systems import hold, record_discoveries, systems
from labmon.store.metrics.record import record_metrics

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def machines(connection):
    def make(count):
        found = [
            Discovery(
                scan_id=1,
                dept_id=1,
                ip_address=f"10.0.{n // 250}.{n % 250 + 1}",
                discovered_at=NOON - timedelta(days=1),
                scan_type="ping",
            )
            for n in range(count)
        ]
        record_discoveries(connection, found)
        connection.commit()

    return make


def row(system_id=1, at=NOON, **readings):
    readings = readings or {"cpu_percent": 50.0}
    return Metrics(system_id=system_id, collected_at=at, metrics=Readings(**readings))


def test_readings_are_stored_in_their_columns(connection, machines):
    machines(1)
    values = {name: n + 1 for n, name in enumerate(Readings.__struct_fields__)}
    assert record_metrics(connection, [row(**values)]) == 1
    stored = connection.execute(f"SELECT {', '.join(values)} FROM metrics").fetchone()
    assert list(stored) == list(values.values())


# findings A7: one of three GPUs lost, nothing tells
@pytest.mark.parametrize("count", [3, 2, 0, None])
def test_the_number_of_gpus_is_shown_with_the_machine(connection, machines, count):
    machines(1)
    record_metrics(connection, [row(cpu_percent=5.0, gpu_count=count)])
    (one,) = systems(connection)
    assert one.gpu_count == count


def test_a_repeat_is_skipped_within_a_batch_and_across_batches(connection, machines):
    machines(1)
    assert record_metrics(connection, [row(), row()]) == 1
    assert record_metrics(connection, [row(), row(at=NOON + timedelta(minutes=1))]) == 1
    connection.commit()
    assert record_metrics(connection, [row(cpu_percent=1.0)]) == 0
    assert connection.execute("SELECT count(*), max(cpu_percent) FROM metrics").fetchone() == (2, 50.0)


def test_a_measured_machine_is_active_and_shows_its_newest_reading(connection, machines):
    machines(1)
    record_metrics(connection, [row(at=NOON + timedelta(minutes=1), cpu_percent=60.0), row()])
    (one,) = systems(connection)
    assert (one.status, one.cpu_percent, one.last_collected) == ("active", 60.0, NOON + timedelta(minutes=1))
    record_metrics(connection, [row(at=NOON - timedelta(hours=1), cpu_percent=10.0)])
    assert systems(connection)[0].cpu_percent == 60.0


def test_measuring_does_not_end_maintenance(connection, machines):
    machines(1)
    connection.execute("UPDATE systems SET status = 'maintenance'")
    record_metrics(connection, [row()])
    assert systems(connection)[0].status == "maintenance"


def test_readings_of_a_machine_that_is_not_there_are_refused(connection, machines):
    machines(1)
    with pytest.raises(ForeignKeyViolation, match="removed"):
        record_metrics(connection, [row(), row(system_id=2)])


def test_a_batch_of_several_days_and_with_repeats_is_stored_once(connection, machines):
    machines(2)
    rows = [row(system_id=1 + n % 2, at=NOON + timedelta(days=n)) for n in range(6)]
    assert record_metrics(connection, rows[:4]) == 4
    assert record_metrics(connection, [*rows[::-1], rows[5]]) == 2
    assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (6,)
    assert connection.execute("SELECT max(last_collected) FROM systems").fetchone() == (rows[5].collected_at,)


def test_each_day_has_its_partition_in_utc(connection, machines):
    machines(1)
    at = datetime(2025, 11, 25, 23, 59, 59, 999999, tzinfo=UTC)
    record_metrics(connection, [row(at=at), row(at=at + timedelta(microseconds=1))])
    tables = connection.execute("SELECT tableoid::regclass::text FROM metrics ORDER BY collected_at")
    assert tables.fetchall() == [("metrics_20251125",), ("metrics_20251126",)]


def test_holding_tells_known_machines_from_strangers(connection, machines):
    machines(2)
    assert hold(connection, [1, 2, 99, 1]) == {1, 2}


def test_workers_with_overlapping_batches_and_new_days_do_not_fail_each_other(store, connection, machines):
    machines(50)
    batches = [
        [row(system_id=n + 1, at=NOON + timedelta(days=day, seconds=k)) for n in range(50)]
        for day in range(3)
        for k in range(2)
    ]

    def work(order):
        for batch in batches[::order]:
            with store.transaction() as connection:
                hold(connection, (one.system_id for one in batch))
                record_metrics(connection, batch[::order])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, [1, -1, 1, -1]))
    with store.transaction() as connection:
        assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (300,)


def test_two_workers_that_meet_a_new_day_at_once_both_store_it(store, store_url, connection, machines):
    machines(2)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(store_url) as first:
        record_metrics(first, [row(system_id=1)])

        def second():
            with store.transaction() as connection:
                return record_metrics(connection, [row(system_id=2)])

        waiting = pool.submit(second)
        while not connection.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall():
            time.sleep(0.01)
        first.commit()
        assert waiting.result(30) == 1
    assert connection.execute("SELECT count(*) FROM metrics").fetchone() == (2,)


def test_a_scan_and_a_worker_with_the_same_machines_wait_for_each_other_and_never_for_ever(
    store, store_url, connection, machines
):
    machines(3)
    # So that the order in which the rows lie is not that of the numbers.
    connection.execute("UPDATE systems SET hostname = 'first' WHERE system_id = 1")
    connection.commit()
    sightings = [
        Discovery(scan_id=2, dept_id=1, ip_address=f"10.0.0.{n}", discovered_at=NOON, scan_type="arp")
        for n in (2, 3, 1)
    ]

    def in_a_transaction(record, rows):
        with store.transaction() as session:
            record(session, rows)

    def wait_for(number):
        deadline = time.monotonic() + 20
        while connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (number,):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    with ThreadPoolExecutor(2) as pool, psycopg.connect(store_url) as other:
        hold(other, [3])
        scan = pool.submit(in_a_transaction, record_discoveries, sightings)
        wait_for(1)
        worker = pool.submit(in_a_transaction, record_metrics, [row(system_id=n) for n in (1, 2, 3)])
        wait_for(2)
        other.commit()
        scan.result(30)
        worker.result(30)
