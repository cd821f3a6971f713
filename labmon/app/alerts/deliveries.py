"""Notifications as `labmon alerts deliveries` lists them."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from labmon.table import Column

if TYPE_CHECKING:
    from labmon.alerts.deliveries import Delivery


@dataclass(frozen=True)
class DeliveryRow:
    """A delivery in a list."""

    at: datetime
    target: str
    state: str
    alert_type: str
    alert_state: str
    subject: str
    attempts: int
    error: str | None

    @classmethod
    def of(cls, one: "Delivery") -> "DeliveryRow":
        return cls(
            one.created_at,
            one.target,
            one.state,
            one.alert.alert_type,
            one.alert.state,
            one.about,
            one.attempts,
            one.error,
        )


COLUMNS = [
    Column("at", "Since", lambda at: f"{at.astimezone():%m-%d %H:%M:%S}"),
    Column("target", "Target"),
    Column("state", "State"),
    Column("alert_type", "Alert"),
    Column("alert_state", "Is", extra=True),
    Column("subject", "About", gives=True, name=True),
    Column("attempts", "Attempts", right=True, extra=True),
    Column("error", "Error", absent="", gives=True),
]
