from labmon.alerts.deliveries import Delivery
from labmon.app.alerts.deliveries import COLUMNS, DeliveryRow
from labmon.messages import Alert, utcnow


def test_a_row_shows_the_alert_and_why_it_was_not_sent():
    alert = Alert(alert_type="hot", severity="warning", system_id=1, at=utcnow(), value=1.0, threshold=1.0)
    row = DeliveryRow.of(Delivery(1, "admins", alert, "pc-1", None, alert.at, "failed", None, 3, "refused"))
    assert [getattr(row, column.field) for column in COLUMNS[1:]] == [
        *("admins", "failed", "hot", "firing", "pc-1", 3, "refused"),
    ]
