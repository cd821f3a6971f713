"""Writers of the same machines wait for each other, and never in a circle."""

from datetime import UTC, datetime
from threading import Thread

import psycopg
import pytest

from labmon.messages import Discovery, Metrics, Readings, ScanFinished, SystemStatus
from labmon.store.inventory.scans import record_scans
from labmon.store.inventory.statuses import record_statuses
from labmon.store.inventory.systems import record_discoveries
from labmon.store.metrics.record import record_metrics

AT = datetime(2026, 3, 1, 13, tzinfo=UTC)


def discovered(connection):
    record_discoveries(
        connection,
        [Discovery(scan_id=1, dept_id=1, ip_address="10.0.0.3", discovered_at=AT, scan_type="arp")],
    )


def status(connection):
    record_statuses(connection, [SystemStatus(system_id=1, status="offline", since=AT, checked_at=AT)])


def finished(connection):
    record_scans(
        connection,
        [
            ScanFinished(
                scan_id=2,
                dept_id=1,
                scan_type="arp",
                target_range="10.0.0.1-10.0.0.2",
                started_at=AT,
                finished_at=AT,
                systems_found=0,
                status="completed",
            )
        ],
    )


def measured(connection):
    readings = Readings(cpu_percent=5.0)
    rows = [Metrics(system_id=n, collected_at=AT, metrics=readings) for n in (1, 2, 3)]
    record_metrics(connection, rows)


def statuses(connection):
    record_statuses(
        connection,
        [SystemStatus(system_id=n, status="offline", since=AT, checked_at=AT) for n in (1, 2, 3)],
    )


@pytest.mark.parametrize("then", [status, finished])
@pytest.mark.parametrize("other", [measured, statuses])
def test_a_batch_of_a_scan_and_one_of_measurements_do_not_deadlock(store_url, connection, fleet, then, other):
    """The first takes row 3, then 1 (and 2); the other all of them, from 1 on."""
    failed = []

    def beside():
        try:
            with psycopg.connect(store_url) as second:
                other(second)
        except psycopg.Error as error:
            failed.append(error)

    connection.execute("UPDATE systems SET last_seen = %s - interval '1 day'", [AT])
    connection.commit()
    discovered(connection)
    thread = Thread(target=beside)
    thread.start()
    watcher = psycopg.connect(store_url, autocommit=True)
    waiting = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while not watcher.execute(waiting).fetchone()[0] and thread.is_alive():
        pass
    watcher.close()
    then(connection)
    connection.commit()
    thread.join(60)
    assert failed == [] and not thread.is_alive()
