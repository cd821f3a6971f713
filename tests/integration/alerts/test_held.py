"""What waits for a target when it is muted: it is held until that ends, and told then if it still stands."""

from datetime import timedelta

import msgspec
import pytest

from labmon.alerts import deliveries
from labmon.messages import utcnow
from labmon.store.inventory import maintenance
from labmon.store.inventory.maintenance import EVERYTHING, Scope
from tests.integration.alerts.telling import (
    eventually,
    incident,
    notifying,
    raised,
    states,
    store_alerts,
    target,
    words,
)

pytestmark = pytest.mark.usefixtures("machines")


def muted(connection, mode="silence", scope=EVERYTHING, **more):
    now = utcnow()
    number = maintenance.add(
        connection, mode, scope, starts_at=now - timedelta(hours=1), ends_at=now + timedelta(hours=1), **more
    )
    connection.commit()
    return number


def release(connection):
    count = deliveries.release(connection, utcnow())
    connection.commit()
    return count


@pytest.mark.parametrize("mode, named", [("silence", "silence"), ("mute", "maintenance")])
def test_it_is_told_at_the_end_of_that(configured, connection, receiver, mode, named):
    config = configured(target(receiver))
    store_alerts(connection, config, incident(connection, raised(2)), incident(connection, raised(4)))
    number = muted(connection, mode, Scope(system_id=2))
    with notifying(config):
        eventually(lambda: states(connection) == {"held": 1, "sent": 1})
        assert words(connection)[0] == ("held", "firing", f"{named} {number}")
        assert release(connection) == 0
        maintenance.remove(connection, number)
        assert release(connection) == 1
        receiver.wait(2)
        eventually(lambda: states(connection) == {"sent": 2})
    assert receiver.alerts == [(4, "cpu_high", "firing"), (2, "cpu_high", "firing")]
    assert receiver.received[1].document["alerts"][0]["reason"] == f"held until now: {named} {number}"


def test_what_waits_after_an_attempt_in_vain_is_held_as_well(configured, connection, receiver):
    receiver.then = 503
    config = configured(target(receiver))
    known = incident(connection, raised(2))
    with notifying(config):
        store_alerts(connection, config, known)
        receiver.wait(1)
        eventually(lambda: deliveries.recent(connection, limit=1)[0].attempts == 1)
        number = muted(connection, rule="cpu_high")
        receiver.then = 204
        connection.execute("UPDATE notified SET not_before = now()")
        connection.execute("NOTIFY labmon_deliveries")
        connection.commit()
        eventually(lambda: states(connection) == {"held": 1})
        maintenance.remove(connection, number)
        assert release(connection) == 1
        receiver.wait(2)
    assert len(receiver.received) == 2


def test_what_is_over_before_that_ends_is_never_told(configured, connection, receiver):
    config = configured(target(receiver))
    known = incident(connection, raised(2))
    store_alerts(connection, config, known)
    number = muted(connection)
    with notifying(config):
        eventually(lambda: states(connection) == {"held": 1})
        connection.execute("UPDATE alert_incidents SET resolved_at = now()")
        maintenance.remove(connection, number)
        store_alerts(connection, config, msgspec.structs.replace(known, at=utcnow(), state="resolved"))
        eventually(lambda: states(connection) == {"held": 1, "withdrawn": 1})
        assert release(connection) == 1
        eventually(lambda: "waiting" not in states(connection))
    assert receiver.alerts == []
    assert words(connection) == [
        ("withdrawn", "firing", "resolved before it could be sent"),
        ("withdrawn", "resolved", "its beginning was not sent"),
    ]


def test_the_end_of_what_was_told_is_held_and_told(configured, connection, receiver):
    config = configured(target(receiver))
    known = incident(connection, raised(2))
    with notifying(config):
        store_alerts(connection, config, known)
        receiver.wait(1)
        number = muted(connection)
        connection.execute("UPDATE alert_incidents SET resolved_at = now()")
        store_alerts(connection, config, msgspec.structs.replace(known, at=utcnow(), state="resolved"))
        eventually(lambda: states(connection) == {"sent": 1, "held": 1})
        maintenance.remove(connection, number)
        assert release(connection) == 1
        receiver.wait(2)
    assert receiver.alerts == [(2, "cpu_high", "firing"), (2, "cpu_high", "resolved")]


def test_what_has_been_acknowledged_meanwhile_is_not_told_at_the_end(configured, connection, receiver):
    config = configured(target(receiver))
    store_alerts(connection, config, incident(connection, raised(2)))
    number = muted(connection)
    with notifying(config):
        eventually(lambda: states(connection) == {"held": 1})
        connection.execute("UPDATE alert_incidents SET acknowledged_at = now(), acknowledged_by = 'eva'")
        maintenance.remove(connection, number)
        assert release(connection) == 1
        eventually(lambda: states(connection) == {"withdrawn": 1})
    assert receiver.alerts == []


def test_a_held_one_never_becomes_too_old(configured, connection, receiver):
    config = configured(target(receiver), retry_for="1h")
    store_alerts(connection, config, incident(connection, raised(2)))
    number = muted(connection)
    with notifying(config):
        eventually(lambda: states(connection) == {"held": 1})
        connection.execute("UPDATE deliveries SET created_at = now() - interval '3 days'")
        maintenance.remove(connection, number)
        assert release(connection) == 1
        receiver.wait(1)
        eventually(lambda: states(connection) == {"sent": 1})
