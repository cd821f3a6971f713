"""Alerts that come, and a notifier that tells of them: what the tests of telling have in common."""

import threading
import time
from contextlib import contextmanager

from labmon.alerts.notify import Notifier
from labmon.consume.handlers import handlers
from labmon.messages import Alert, encode, utcnow
from labmon.store.pool import Store


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
    handle = handlers(config)[config.queue.alert_queue]
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
    with Store(config) as store, running(Notifier(config.notify, **options), store):
        yield


def states(connection):
    connection.rollback()
    rows = connection.execute("SELECT state, count(*) FROM deliveries GROUP BY state")
    return dict(rows.fetchall())


def eventually(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
