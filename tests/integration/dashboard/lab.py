"""A small campus in a store: departments, labs, systems, readings, alerts."""

from datetime import UTC, datetime, timedelta

from labmon.messages import Metrics, Readings
from labmon.store.metrics.record import record_metrics


def minutes_ago(minutes, now=None):
    return (now or datetime.now(UTC)) - timedelta(minutes=minutes)


def campus(connection, systems=4):
    """Department 1 with lab A-101 (systems 1 and 2) and lab B-7, which is empty; the rest is in no lab."""
    connection.execute("INSERT INTO departments (dept_id, name) VALUES (1, 'Physics')")
    connection.execute("INSERT INTO labs (lab_id, dept_id, name) VALUES (1, 1, 'A-101'), (2, 1, 'B-7')")
    connection.execute(
        "INSERT INTO systems (system_id, dept_id, lab_id, ip_address, hostname) "
        "SELECT n, 1, CASE WHEN n <= 2 THEN 1 END, '10.0.0.0'::inet + n, 'pc-' || n "
        "FROM generate_series(1, %s) n",
        [systems],
    )
    connection.execute("SELECT setval('systems_system_id_seq', %s)", [systems])
    connection.commit()


def measure(connection, system, *times, cpu=10.0, users=0, **readings):
    """Readings of a system at these times."""
    record_metrics(
        connection,
        [
            Metrics(
                system_id=system,
                collected_at=at,
                metrics=Readings(cpu_percent=cpu, logged_in_users=users, ram_percent=40.0, **readings),
            )
            for at in times
        ],
    )
    connection.commit()


def fire(connection, system, alert_type="hot", severity="warning", at=None):
    """An alert that is firing; its number."""
    at = at or datetime.now(UTC)
    row = connection.execute(
        "INSERT INTO alert_incidents (alert_type, kind, system_id, severity, value, threshold, since, "
        "last_at, fired_at, told) "
        "VALUES (%s, 'threshold', %s, %s, 99, 90, %s, %s, %s, 'firing') RETURNING alert_id",
        [alert_type, system, severity, at, at, at],
    ).fetchone()
    connection.commit()
    return row[0]
