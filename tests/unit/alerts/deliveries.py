"""Deliveries as the store gives them."""

from datetime import UTC, datetime, timedelta

from labmon.alerts.deliveries import Delivery
from labmon.messages import Alert

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def delivery(
    number, *, system=42, kind="cpu_high", severity="warning", state="firing", minutes=0, place="A-101"
):
    """One that waits, of an alert so many minutes after noon."""
    at = NOON + timedelta(minutes=minutes)
    alert = Alert(
        system_id=system,
        alert_type=kind,
        severity=severity,
        value=95.5,
        threshold=90.0,
        at=at,
        state=state,
    )
    return Delivery(number, "admins", alert, f"pc-{system}", place, at, "waiting", None, 0, None)
