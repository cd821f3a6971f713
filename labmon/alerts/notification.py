"""What is said to a target at once: one or many alerts, as data for programs and as words for people."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import msgspec

from labmon.messages import Alert
from labmon.store.deliveries import Delivery

LISTED = 30
"""Alerts that a text names one by one; the others are counted."""

NAMED = 12
"""Systems that a text names of those under one alert."""

SEVERITIES = ("critical", "warning", "info")


@dataclass(frozen=True, slots=True)
class Notification:
    """The newest word on each alert that waits for a target, the worst first."""

    target: str
    current: tuple[Delivery, ...]
    superseded: tuple[Delivery, ...]  #: about the same, and older

    @classmethod
    def of(cls, target: str, deliveries: Sequence[Delivery]) -> Self:
        """From what waits, oldest first."""
        newest: dict[Any, Delivery] = {}
        superseded = []
        for one in sorted(deliveries, key=lambda one: one.alert.at):
            alert = one.alert
            key = alert.alert_id or (alert.system_id, alert.alert_type, alert.subject)
            if key in newest:
                superseded.append(newest[key])
            newest[key] = one
        current = sorted(newest.values(), key=_rank)
        return cls(target, tuple(current), tuple(superseded))

    @property
    def ids(self) -> list[int]:
        """Of the deliveries it is about, the superseded ones too."""
        return [one.delivery_id for one in self.current + self.superseded]

    @property
    def key(self) -> str:
        """The same when the same is sent again, so that a receiver can tell."""
        told = ",".join(str(one.delivery_id) for one in self.current)
        return hashlib.sha256(f"{self.target}:{told}".encode()).hexdigest()[:32]

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
        told = ", ".join(f"{counts[state]} {state}" for state in (*SEVERITIES, "resolved") if counts[state])
        places = {one.place for one in self.current}
        place = next(iter(places)) if len(places) == 1 else None
        return f"{told} in {place}" if place else told

    @property
    def text(self) -> str:
        """A line for each alert, with what it was measured by, and since when."""
        lines = [_line(one) for one in self.current[:LISTED]]
        if len(self.current) > LISTED:
            lines.append(f"and {len(self.current) - LISTED} more: labmon alerts list")
        return "\n".join(lines)

    def body(self, now: datetime) -> dict[str, Any]:
        """For programs. Each alert is the message as published, with the names of its subject and place."""
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


def _rank(one: Delivery) -> tuple[bool, int, datetime]:
    alert = one.alert
    return alert.state == "resolved", SEVERITIES.index(alert.severity), alert.at


def _state(alert: Alert) -> str:
    return "resolved" if alert.state == "resolved" else alert.severity


def _line(one: Delivery) -> str:
    alert = one.alert
    still = "still " if alert.repeat and alert.state == "firing" else ""
    place = f", {one.place}" if one.place and one.place != one.about else ""
    parts = [
        f"{_state(alert)}: {still}{alert.rule or alert.alert_type} on {one.about}{place}: "
        f"{alert.value:g} (threshold {alert.threshold:g}), {_times(alert)}"
    ]
    if alert.covers:
        more = max(0, (alert.covered or 0) - NAMED, len(alert.covers) - NAMED)
        named = ", ".join(alert.covers[:NAMED]) + (f" and {more} more" if more else "")
        parts.append(f"  systems: {named}")
    parts += [f"  {said}" for said in (alert.reason, alert.note) if said]
    return "\n".join(parts)


def _times(alert: Alert) -> str:
    """Since when; or from when to when, of which its beginning may be news as well."""
    if not alert.since:
        return _when(alert.at)
    return (
        f"{_when(alert.since)} to {_when(alert.at)}"
        if alert.state == "resolved"
        else f"since {_when(alert.since)}"
    )


def _when(moment: datetime) -> str:
    """In the time zone of this machine, where the reader is too."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M %Z}"
