"""What a target is sent at once: one or many alerts, as data for programs and as text for people."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import msgspec

from labmon.alerts.deliveries import Delivery
from labmon.messages import KEY_CHANGED, Alert

LISTED = 30
"""Alerts that a text names one by one; the others are counted."""

NAMED = 12
"""Systems that a text names of those under one alert."""

SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True, slots=True)
class Notification:
    """The newest state of each alert that waits for a target, the worst first."""

    target: str
    current: tuple[Delivery, ...]
    superseded: tuple[Delivery, ...]  #: about the same, and older

    @classmethod
    def of(cls, target: str, deliveries: Sequence[Delivery]) -> Self:
        """From what waits, oldest first."""
        newest: dict[Any, Delivery] = {}
        superseded = []
        for one in sorted(deliveries, key=lambda one: one.alert.at):
            key = _identity(one)
            if key in newest:
                superseded.append(newest[key])
            newest[key] = one
        current = sorted(newest.values(), key=_rank)
        return cls(target, tuple(current), tuple(superseded))

    def halves(self) -> "tuple[Notification, Notification] | None":
        """Two notifications of half the alerts each; None for one alert."""
        if len(self.current) < 2:
            return None
        middle = len(self.current) // 2
        return self._of(self.current[:middle]), self._of(self.current[middle:])

    def _of(self, current: tuple[Delivery, ...]) -> "Notification":
        alerts = {_identity(one) for one in current}
        superseded = tuple(one for one in self.superseded if _identity(one) in alerts)
        return Notification(self.target, current, superseded)

    @property
    def ids(self) -> list[int]:
        """The deliveries it is about, the superseded ones too."""
        return [one.delivery_id for one in self.current + self.superseded]

    @property
    def key(self) -> str:
        """An idempotency key: the same when the same is sent again."""
        numbers = ",".join(str(one.delivery_id) for one in self.current)
        return hashlib.sha256(f"{self.target}:{numbers}".encode()).hexdigest()[:32]

    @property
    def severity(self) -> str:
        """The worst of those that began; "resolved" when all have ended."""
        began = {one.alert.severity for one in self.current if one.alert.state == "firing"}
        return next((one for one in SEVERITIES if one in began), "resolved")

    @property
    def title(self) -> str:
        """One line that says what matters on a phone's screen."""
        if len(self.current) == 1:
            one = self.current[0]
            return f"{_state(one.alert)}: {one.alert.rule or one.alert.alert_type} on {one.about}"
        counts = Counter(_state(one.alert) for one in self.current)
        summary = ", ".join(
            f"{counts[state]} {state}" for state in (*SEVERITIES, "resolved") if counts[state]
        )
        places = {one.place for one in self.current}
        place = next(iter(places)) if len(places) == 1 else None
        return f"{summary} in {place}" if place else summary

    @property
    def text(self) -> str:
        """A line for each alert, with its value, threshold and time."""
        lines = [_line(one) for one in self.current[:LISTED]]
        if len(self.current) > LISTED:
            lines.append(f"and {len(self.current) - LISTED} more: labmon alerts list")
        return "\n".join(lines)

    def body(self, now: datetime) -> dict[str, Any]:
        """The JSON for programs: each alert as it was published, with the names of its subject and place."""
        return {
            "version": 1,
            "id": self.key,
            "target": self.target,
            "title": self.title,
            "sent_at": now,
            "alerts": [
                {
                    **msgspec.to_builtins(one.alert),
                    "about": one.about,
                    "place": one.place,
                }
                for one in self.current
            ],
        }


def _identity(one: Delivery) -> Any:
    """Equal for deliveries about the same alert."""
    alert = one.alert
    return alert.alert_id or (alert.system_id, alert.alert_type, alert.subject)


def _rank(one: Delivery) -> tuple[bool, int, datetime]:
    alert = one.alert
    return alert.state == "resolved", SEVERITIES.index(alert.severity), alert.at


def _state(alert: Alert) -> str:
    return "resolved" if alert.state == "resolved" else alert.severity


def _line(one: Delivery) -> str:
    alert = one.alert
    still = "still " if alert.repeat and alert.state == "firing" else ""
    place = f", {one.place}" if one.place and one.place != one.about else ""
    is_fact = alert.alert_type == KEY_CHANGED
    values = "" if is_fact else f"{alert.value:g} (threshold {alert.threshold:g}), "
    parts = [
        f"{_state(alert)}: {still}{alert.rule or alert.alert_type} on {one.about}{place}: "
        f"{values}{_times(alert)}"
    ]
    if alert.covers:
        more = max(0, (alert.covered or 0) - NAMED, len(alert.covers) - NAMED)
        named = ", ".join(alert.covers[:NAMED]) + (f" and {more} more" if more else "")
        parts.append(f"  systems: {named}")
    parts += [f"  {said}" for said in (alert.reason, alert.note) if said]
    return "\n".join(parts)


def _times(alert: Alert) -> str:
    """The beginning; for a resolved alert also the end."""
    if not alert.since:
        return _when(alert.at)
    return (
        f"{_when(alert.since)} to {_when(alert.at)}"
        if alert.state == "resolved"
        else f"since {_when(alert.since)}"
    )


def _when(moment: datetime) -> str:
    """The time in the zone of this machine."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M %Z}"
