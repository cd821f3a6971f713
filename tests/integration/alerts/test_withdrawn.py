"""What waits for a target, and need not be told any more when the target is there."""

import msgspec
import pytest

from labmon.alerts import deliveries
from labmon.messages import utcnow
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
        ("withdrawn", "resolved", "its beginning was not sent"),
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
    assert (kept.target, kept.error) == ("pager", "resolved before it could be sent")
