"""A target with `after` hears only of what nobody acknowledged in time, and of the end of nothing else."""

from datetime import timedelta

import msgspec
import pytest

from labmon.alerts import deliveries, incidents
from labmon.messages import utcnow
from labmon.store.inventory import maintenance
from labmon.store.inventory.maintenance import Scope
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
from tests.support.receiver import Receiver

pytestmark = pytest.mark.usefixtures("machines")


@pytest.fixture
def config(configured, receiver, head):
    return configured(target(receiver), target(head, "head", after="30m"))


@pytest.fixture
def head():
    with Receiver() as head:
        yield head


def tick(connection, minutes):
    """What `labmon consume` does so many minutes after the alert."""
    count = deliveries.release(connection, utcnow() + timedelta(minutes=minutes))
    connection.commit()
    return count


def acknowledge(connection, alert, *, back=False):
    number, now = [alert.alert_id], utcnow()
    if back:
        assert incidents.unacknowledge(connection, number, "eva", now) == number
    else:
        assert incidents.acknowledge(connection, number, "eva", None, now) == number
    connection.commit()


def resolve(connection, config, alert):
    connection.execute("UPDATE alert_incidents SET resolved_at = now()")
    store_alerts(connection, config, msgspec.structs.replace(alert, at=utcnow(), state="resolved"))


def test_what_nobody_acknowledged_is_escalated_and_its_end_is_told(config, connection, receiver, head):
    known = incident(connection, raised(2))
    store_alerts(connection, config, known)
    with notifying(config):
        receiver.wait(1)
        assert tick(connection, 29) == 0
        assert ("held", "firing", "waits 30m for an acknowledgement") in words(connection)
        assert tick(connection, 31) == 1
        head.wait(1)
        assert head.received[0].document["alerts"][0]["reason"] == "nobody has acknowledged it"
        resolve(connection, config, known)
        head.wait(2)
        receiver.wait(2)
    assert head.alerts == receiver.alerts == [(2, "cpu_high", "firing"), (2, "cpu_high", "resolved")]


def test_what_was_acknowledged_in_time_is_not_escalated_nor_its_end(config, connection, receiver, head):
    known = incident(connection, raised(2))
    store_alerts(connection, config, known)
    with notifying(config):
        receiver.wait(1)
        acknowledge(connection, known)
        assert tick(connection, 31) == 1
        eventually(lambda: states(connection) == {"sent": 1, "withdrawn": 1})
        resolve(connection, config, known)
        receiver.wait(2)
        eventually(lambda: states(connection) == {"sent": 2, "withdrawn": 2})
    assert head.alerts == []


def test_an_acknowledgement_taken_back_lets_it_escalate(config, connection, receiver, head):
    known = incident(connection, raised(2))
    store_alerts(connection, config, known)
    with notifying(config):
        receiver.wait(1)
        acknowledge(connection, known)
        assert tick(connection, 31) == 1
        eventually(lambda: states(connection) == {"sent": 1, "withdrawn": 1})
        acknowledge(connection, known, back=True)
        assert tick(connection, 31) == 1
        head.wait(1)
    assert head.alerts == [(2, "cpu_high", "firing")]


def test_what_is_over_in_time_is_never_heard_of(config, connection, receiver, head):
    known = incident(connection, raised(2))
    store_alerts(connection, config, known)
    with notifying(config):
        receiver.wait(1)
        resolve(connection, config, known)
        receiver.wait(2)
        tick(connection, 31)
        eventually(lambda: states(connection) == {"sent": 2, "withdrawn": 2})
    assert head.alerts == []


def test_what_ended_while_the_target_was_away_is_not_told_by_its_end(config, connection, receiver, head):
    head.then = 503
    known = incident(connection, raised(2))
    store_alerts(connection, config, known)
    with notifying(config):
        assert tick(connection, 31) == 1
        head.wait(1)
        eventually(lambda: any(one.attempts and one.target == "head" for one in recent(connection)))
        resolve(connection, config, known)
        head.then = 204
        deliveries.try_again(connection)
        connection.commit()
        eventually(lambda: states(connection) == {"sent": 2, "withdrawn": 2})
    assert len(head.received) == 1


def recent(connection):
    connection.rollback()
    return deliveries.recent(connection, limit=10)


def test_what_is_silenced_by_then_waits_for_the_end_of_that(config, connection, receiver, head):
    known = incident(connection, raised(2))
    store_alerts(connection, config, known)
    now = utcnow()
    with notifying(config):
        receiver.wait(1)
        number = maintenance.add(
            *(connection, "silence", Scope(system_id=2)),
            starts_at=now - timedelta(hours=1),
            ends_at=now + timedelta(hours=2),
        )
        connection.commit()
        assert tick(connection, 31) == 0
        maintenance.remove(connection, number)
        assert tick(connection, 61) == 1
        head.wait(1)
    assert head.alerts == [(2, "cpu_high", "firing")]


def test_repeats_escalate_with_the_first_and_not_later(config, connection, receiver, head):
    known = incident(connection, raised(2))
    store_alerts(connection, config, known)
    again = msgspec.structs.replace(known, at=utcnow(), repeat=1)
    store_alerts(connection, config, again)
    assert tick(connection, 31) == 2
    with notifying(config):
        head.wait(1)
        eventually(lambda: states(connection) == {"sent": 2, "superseded": 2})
        connection.execute(
            "UPDATE deliveries SET escalate_at = now() - interval '1 min' WHERE target = 'head'"
        )
        store_alerts(connection, config, msgspec.structs.replace(known, at=utcnow(), repeat=2))
        head.wait(2)  # without a tick
    assert [one.document["alerts"][0].get("repeat") for one in head.received] == [1, 2]


def test_an_alert_of_another_program_escalates_by_the_number_it_gets(config, connection, receiver, head):
    store_alerts(connection, config, raised(2, "smoke"), raised(4, "smoke"))
    with notifying(config):
        receiver.wait(1)
        numbers = {one["system_id"]: one["alert_id"] for one in receiver.received[0].document["alerts"]}
        assert receiver.received[0].document["alerts"][0]["ack_command"].startswith("labmon alerts ack ")
        assert incidents.acknowledge(connection, [numbers[2]], "eva", None, utcnow()) == [numbers[2]]
        connection.commit()
        tick(connection, 31)
        head.wait(1)
    assert head.alerts == [(4, "smoke", "firing")]
