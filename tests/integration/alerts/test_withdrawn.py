"""What waits for a target, and need not be told any more when the target is there."""

import msgspec
import pytest

from labmon.messages import utcnow
from labmon.store import deliveries
from tests.integration.alerts.telling import eventually, notifying, raised, states, store_alerts, target
from tests.receiver import Receiver

pytestmark = pytest.mark.usefixtures("machines")


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


def words(connection):
    connection.rollback()
    return [(one.state, one.alert.state, one.error) for one in deliveries.recent(connection, limit=10)]


def test_what_somebody_has_acknowledged_meanwhile_is_not_told_nor_its_end(configured, connection, receiver):
    config = configured(target(receiver))
    known = incident(connection, raised(2), acknowledged_at=utcnow(), acknowledged_by="eva")
    store_alerts(connection, config, known, raised(4))
    with notifying(config):
        eventually(lambda: "waiting" not in states(connection))
        store_alerts(connection, config, msgspec.structs.replace(known, at=utcnow(), state="resolved"))
        eventually(lambda: "waiting" not in states(connection))
    assert receiver.alerts == [(4, "cpu_high", "firing")]
    assert words(connection) == [
        ("withdrawn", "firing", "acknowledged by eva"),
        ("sent", "firing", None),
        ("withdrawn", "resolved", "nobody was told of it"),
    ]


def test_who_was_told_of_it_before_is_told_of_its_end(configured, connection, receiver):
    config = configured(target(receiver))
    known = incident(connection, raised(2))
    with notifying(config):
        store_alerts(connection, config, known)
        receiver.wait(1)
        connection.execute("UPDATE alert_incidents SET acknowledged_at = now(), acknowledged_by = 'eva'")
        store_alerts(connection, config, msgspec.structs.replace(known, at=utcnow(), repeat=1))
        eventually(lambda: states(connection) == {"sent": 1, "withdrawn": 1})
        store_alerts(connection, config, msgspec.structs.replace(known, at=utcnow(), state="resolved"))
        eventually(lambda: states(connection) == {"sent": 2, "withdrawn": 1})
    assert receiver.alerts == [(2, "cpu_high", "firing"), (2, "cpu_high", "resolved")]


def test_who_is_told_of_no_ends_is_not_told_late_of_what_is_over(configured, connection, receiver):
    with Receiver() as pager:
        config = configured(target(pager, "pager", resolved=False), target(receiver))
        over = incident(connection, raised(2), resolved_at=utcnow())
        store_alerts(connection, config, over, raised(4))
        with notifying(config):
            eventually(lambda: "waiting" not in states(connection))
        assert pager.alerts == [(4, "cpu_high", "firing")]
    assert sorted(receiver.alerts) == [(2, "cpu_high", "firing"), (4, "cpu_high", "firing")]
    (kept,) = deliveries.recent(connection, state="withdrawn", limit=10)
    assert (kept.target, kept.error) == ("pager", "over before it could be told")
