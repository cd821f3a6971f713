"""What a notification says of each alert: its number, values in people's units, local times, what to do."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from labmon.alerts.deliveries import Delivery
from labmon.alerts.units import amount, unit
from labmon.config.tables import NotifyTarget
from labmon.messages import KEY_CHANGED, Alert

NAMED = 12
"""Systems that a text names of those under one alert."""


@dataclass(frozen=True, slots=True)
class Style:
    """How one target is told."""

    timezone: str = ""  #: of its times; empty: this machine's
    dashboard: str = ""  #: the dashboard's address; empty: there is none to link to
    template: str = ""  #: the file of its texts; empty: the built-in ones

    @classmethod
    def of(cls, target: NotifyTarget, dashboard: str) -> "Style":
        return cls(target.timezone, dashboard.rstrip("/"), target.template)

    def when(self, moment: datetime) -> str:
        """Local time, with its zone."""
        return f"{moment.astimezone(ZoneInfo(self.timezone) if self.timezone else None):%Y-%m-%d %H:%M %Z}"

    def link(self, alert_id: int | None) -> str | None:
        """The page of an alert, or of all."""
        if not self.dashboard:
            return None
        return f"{self.dashboard}/alerts?alert={alert_id}" if alert_id else f"{self.dashboard}/alerts"


def ack_command(alert_ids: list[int]) -> str | None:
    """The command that acknowledges them; None for none."""
    return f"labmon alerts ack {' '.join(map(str, alert_ids))}" if alert_ids else None


def state(alert: Alert) -> str:
    """The severity; "resolved" once it is over."""
    return "resolved" if alert.state == "resolved" else alert.severity


def for_programs(one: Delivery, style: Style) -> dict[str, Any]:
    """What is added to the message for programs: the names, and of the rest what it has."""
    return {"about": one.about, "place": one.place} | {
        name: value for name, value in _more(one.alert, style).items() if value is not None
    }


def _more(alert: Alert, style: Style) -> dict[str, Any]:
    value, limit = _amounts(alert)
    return {
        "unit": unit(alert.kind, alert.metric),
        "value_text": value,
        "limit_text": limit,
        "ack_command": _ack(alert),
        "url": style.link(alert.alert_id),
    }


def for_texts(one: Delivery, style: Style) -> dict[str, Any]:
    """The same for templates, with times as text."""
    alert = one.alert
    names = alert.covers or []
    return _more(alert, style) | {
        "about": one.about,
        "alert_id": alert.alert_id,
        "mount": alert.mount,
        "state": state(alert),
        "severity": alert.severity,
        "alert_type": alert.alert_type,
        "rule": alert.rule or alert.alert_type,
        "place": one.place if one.place != one.about else None,
        "system_id": alert.system_id,
        "value": _amounts(alert)[0],
        "limit": _amounts(alert)[1],
        "limit_word": "was" if alert.kind == "changed" else "limit",
        "when": _when(alert, style),
        "since": style.when(alert.since or alert.at),
        "until": style.when(alert.at) if alert.state == "resolved" else None,
        "repeat": alert.repeat,
        "still": bool(alert.repeat) and alert.state == "firing",
        "systems": names[:NAMED],
        "more_systems": max(0, max(alert.covered or 0, len(names)) - NAMED) if names else 0,
        "reason": alert.reason,
        "note": alert.note,
    }


def _ack(alert: Alert) -> str | None:
    return ack_command([alert.alert_id] if alert.alert_id and alert.state == "firing" else [])


def _amounts(alert: Alert) -> tuple[str | None, str | None]:
    """Value and limit in people's units. A fact, such as a host key that changed, has neither."""
    if alert.alert_type == KEY_CHANGED or alert.kind == "gone":
        return None, None
    return (
        amount(alert.kind, alert.metric, alert.value),
        amount(alert.kind, alert.metric, alert.threshold),
    )


def _when(alert: Alert, style: Style) -> str:
    """The beginning; of what is over also the end."""
    if not alert.since:
        return style.when(alert.at)
    if alert.state == "resolved":
        return f"{style.when(alert.since)} to {style.when(alert.at)}"
    return f"since {style.when(alert.since)}"
