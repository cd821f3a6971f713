"""Alertmanager as a target: a real one, which tells a webhook what it makes of the alerts."""

import time
from datetime import timedelta

import msgspec
import pytest

from labmon.alerts import deliveries
from labmon.alerts.notify import alertmanager
from labmon.messages import utcnow
from tests.integration.alerts.telling import eventually, incident, notifying, raised, states, store_alerts
from tests.support.absent import absent
from tests.support.alertmanager import Alertmanager
from tests.support.receiver import Receiver
from tests.support.servers import NotInstalled

pytestmark = pytest.mark.usefixtures("machines")


@pytest.fixture
def hook():
    with Receiver(then=200) as hook:
        yield hook


@pytest.fixture
def manager(tmp_path, hook):
    try:
        manager = Alertmanager(tmp_path, hook.url)
    except NotInstalled as error:
        absent(error)
    yield manager
    manager.kill()


@pytest.fixture
def config(configured, manager, monkeypatch):
    monkeypatch.setattr("labmon.alerts.notify.notifier.FIRST_PAUSE", 0.2)
    monkeypatch.setattr("labmon.alerts.notify.notifier.LONGEST_PAUSE", 0.5)
    return configured({"name": "am", "url": manager.url})


def full(connection, system=2, **more):
    alert = msgspec.structs.replace(
        raised(system, "disk_full", severity="critical"), kind="threshold", metric="disk_percent", **more
    )
    return incident(connection, msgspec.structs.replace(alert, since=alert.at, mount="/home"))


def resolve(connection, config, alert):
    connection.execute(
        "UPDATE alert_incidents SET resolved_at = clock_timestamp() WHERE alert_id = %s", [alert.alert_id]
    )
    store_alerts(connection, config, msgspec.structs.replace(alert, at=utcnow(), state="resolved"))


def told(hook):
    """(state, alertname, mount) of what the Alertmanager told, in its order."""
    return [
        (one["status"], one["labels"]["alertname"], one["labels"].get("mount"))
        for request in hook.received
        for one in request.document["alerts"]
    ]


def test_it_fires_and_is_over_as_labmon_says(config, connection, manager, hook):
    manager.start()
    known = full(connection, note="Delete something.")
    with notifying(config, dashboard="https://labs.example.edu"):
        store_alerts(connection, config, known)
        hook.wait(1)
        (alert,) = manager.alerts()
        assert alert["labels"] == {
            "alertname": "disk_full",
            "severity": "critical",
            "instance": "pc-2 (10.0.0.2)",
            "system_id": "2",
            "mount": "/home",
            "place": "A-101",
        }
        assert alert["annotations"] == {
            "summary": "disk_full on pc-2 (10.0.0.2) /home",
            "value": "95.5 %",
            "limit": "90 %",
            "note": "Delete something.",
            "alert_id": str(known.alert_id),
            "ack_command": f"labmon alerts ack {known.alert_id}",
        }
        assert alert["generatorURL"] == f"https://labs.example.edu/alerts?alert={known.alert_id}"
        resolve(connection, config, known)
        hook.wait(2)
    assert told(hook) == [("firing", "disk_full", "/home"), ("resolved", "disk_full", "/home")]
    assert states(connection) == {"sent": 2}


def test_while_it_is_away_nothing_is_lost(config, connection, manager, hook):
    fires, ends = full(connection), full(connection, 4)
    with notifying(config):
        store_alerts(connection, config, fires)
        eventually(lambda: first(connection).attempts > 1)
        assert "Connection refused" in first(connection).error
        manager.start()
        hook.wait(1)
        eventually(lambda: states(connection) == {"sent": 1})
        store_alerts(connection, config, ends)
        hook.wait(2)
        manager.kill()
        resolve(connection, config, ends)
        eventually(lambda: states(connection) == {"sent": 2, "waiting": 1})
        manager.start()
        eventually(lambda: states(connection) == {"sent": 3})


def first(connection):
    connection.rollback()
    return deliveries.recent(connection, limit=1)[0]


def test_what_fires_is_sent_again_also_to_one_that_has_forgotten_it(
    config, connection, manager, hook, monkeypatch
):
    monkeypatch.setattr(alertmanager, "RESEND", 0.5)
    monkeypatch.setattr(alertmanager, "LIFETIME", timedelta(seconds=3))
    manager.start()
    with notifying(config):
        store_alerts(connection, config, full(connection))
        hook.wait(1)
        time.sleep(4)  # longer than it lives if it is not sent again
        assert told(hook) == [("firing", "disk_full", "/home")]
        manager.kill()
        for file in (manager.folder / "data").iterdir():
            file.unlink()
        manager.start()
        hook.wait(2)
    assert told(hook)[1] == ("firing", "disk_full", "/home")
    assert states(connection) == {"sent": 1}
    hook.wait(3)  # nobody sends it again, so it is over there
    assert told(hook)[2] == ("resolved", "disk_full", "/home")


def test_a_process_that_ends_sends_it_again_too(config, connection, manager, hook):
    import psycopg

    from labmon.alerts.notify.notifier import Notifier

    manager.start()
    store_alerts(connection, config, full(connection))
    with psycopg.connect(config.database.url, autocommit=True) as other:
        Notifier(config.notify).send_all(other)
        (before,) = manager.alerts()
        Notifier(config.notify).send_all(other)
        (after,) = manager.alerts()
    assert after["endsAt"] > before["endsAt"]
    assert (after["fingerprint"], after["startsAt"]) == (before["fingerprint"], before["startsAt"])


def test_its_password_and_prefix_are_those_of_the_url():
    with Receiver(then=200) as receiver:
        url = receiver.url.replace("http://", "alertmanager+http://labmon:s3%40cret@").replace("/hook", "/am")
        from labmon.alerts.notify.notification import Notification
        from tests.unit.alerts.deliveries import delivery

        alertmanager.AlertmanagerSender(url, 5.0).send(Notification.of("am", [delivery(1)]))
        (one,) = receiver.received
    assert one.path == "/am/token-abc/api/v2/alerts"
    assert one.headers["Authorization"] == "Basic bGFibW9uOnMzQGNyZXQ="
