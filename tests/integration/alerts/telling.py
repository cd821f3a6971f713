"""Alerts that come, and a notifier that tells of them: what the tests of telling have in common."""

import threading
import time
from contextlib import contextmanager

import msgspec

from labmon.alerts import deliveries
from labmon.alerts.notify.notifier import Notifier
from labmon.app.open import ingest_settings, open_store
from labmon.ingest.handlers import handlers
from labmon.messages import Alert, encode, utcnow


def target(receiver, name="admins", **settings):
    return {"name": name, "url": receiver.url, **settings}


def raised(system=42, kind="cpu_high", severity="warning", state="firing"):
    return Alert(
        system_id=system,
        alert_type=kind,
        severity=severity,
        value=95.5,
        threshold=90.0,
        at=utcnow(),
        state=state,
    )


def store_alerts(connection, config, *alerts):
    handle = handlers(ingest_settings(config))[config.queue.alert_queue]
    assert handle(connection, [encode(one) for one in alerts]) == {}
    connection.commit()


@contextmanager
def running(service, store):
    """The relay or a notifier, in a thread."""
    stop = threading.Event()
    thread = threading.Thread(target=service.run, args=[store, stop])
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


@contextmanager
def notifying(config, **options):
    with open_store(config) as store, running(Notifier(config.notify, **options), store):
        yield


def incident(connection, alert, **columns):
    """The incident that an alert is about, as the database has it by now."""
    given = {"alert_type": alert.alert_type, "kind": "threshold", "system_id": alert.system_id} | columns
    names, values = ", ".join(given), ", ".join(["%s"] * len(given))
    (number,) = connection.execute(
        f"INSERT INTO alert_incidents (severity, value, threshold, since, last_at, fired_at, {names}) "
        f"VALUES ('warning', 95, 90, now(), now(), now(), {values}) RETURNING alert_id",
        list(given.values()),
    ).fetchone()
    connection.commit()
    return msgspec.structs.replace(alert, alert_id=number)


def states(connection):
    connection.rollback()
    rows = connection.execute("SELECT state, count(*) FROM deliveries GROUP BY state")
    return dict(rows.fetchall())


def words(connection):
    connection.rollback()
    return [(one.state, one.alert.state, one.error) for one in deliveries.recent(connection, limit=10)]


def eventually(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
