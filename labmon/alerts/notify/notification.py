"""What a target is sent at once: one or many alerts, as data for programs and as text for people."""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any, Self

import msgspec

from labmon.alerts.deliveries import Delivery
from labmon.alerts.notify.facts import Style, ack_command, for_programs, for_texts, state
from labmon.alerts.notify.templates.parts import Rendered, TemplateFault

logger = logging.getLogger(__name__)

LISTED = 30
"""Alerts that a text names one by one; the others are counted."""

SEVERITIES = ("critical", "warning", "info")

PLAIN = Style()


@dataclass(frozen=True)
class Notification:
    """The newest state of each alert that waits for a target, the worst first."""

    target: str
    current: tuple[Delivery, ...]
    superseded: tuple[Delivery, ...]  #: about the same, and older
    style: Style = PLAIN

    @classmethod
    def of(cls, target: str, deliveries: Sequence[Delivery], style: Style = PLAIN) -> Self:
        """From what waits, oldest first."""
        newest: dict[Any, Delivery] = {}
        superseded = []
        for one in sorted(deliveries, key=lambda one: one.alert.at):
            key = _identity(one)
            if key in newest:
                superseded.append(newest[key])
            newest[key] = one
        current = sorted(newest.values(), key=_rank)
        return cls(target, tuple(current), tuple(superseded), style)

    def halves(self) -> "tuple[Notification, Notification] | None":
        """Two notifications of half the alerts each; None for one alert."""
        if len(self.current) < 2:
            return None
        middle = len(self.current) // 2
        return self._of(self.current[:middle]), self._of(self.current[middle:])

    def _of(self, current: tuple[Delivery, ...]) -> "Notification":
        alerts = {_identity(one) for one in current}
        superseded = tuple(one for one in self.superseded if _identity(one) in alerts)
        return Notification(self.target, current, superseded, self.style)

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
    def summary(self) -> str:
        """One line that says what matters on a phone's screen."""
        if len(self.current) == 1:
            one = for_texts(self.current[0], self.style)
            mount = f" {one['mount']}" if one["mount"] else ""
            value = f", {one['value']}" if one["value"] else ""
            return f"{one['state']}: {one['rule']} on {one['about']}{mount}{value}"
        counts = Counter(state(one.alert) for one in self.current)
        summary = ", ".join(
            f"{counts[state]} {state}" for state in (*SEVERITIES, "resolved") if counts[state]
        )
        places = {one.place for one in self.current}
        place = next(iter(places)) if len(places) == 1 else None
        return f"{summary} in {place}" if place else summary

    def values(self) -> dict[str, Any]:
        """What a template knows: text, numbers, lists. The alerts beyond `LISTED` are counted in `more`."""
        alerts = [for_texts(one, self.style) for one in self.current[:LISTED]]
        numbers = sorted(one["alert_id"] for one in alerts if one["ack_command"])
        return {
            "target": self.target,
            "title": self.summary,
            "severity": self.severity,
            "alerts": alerts,
            "more": len(self.current) - len(alerts),
            "ack_command": ack_command(numbers),
            "url": self.style.link(self.current[0].alert.alert_id if len(self.current) == 1 else None),
        }

    @cached_property
    def rendered(self) -> Rendered:
        """Title and texts by the target's template, or by the built-in one where that does not render:
        `problem` says so, and the log."""
        from labmon.alerts.notify.templates.process import read, render_apart
        from labmon.alerts.notify.templates.render import render

        values = self.values()
        if not self.style.template:
            return render(values)
        try:
            return render_apart(values, read(self.style.template))
        except TemplateFault as fault:
            problem = f"sent with the built-in text: template {self.style.template}: {fault}"
            logger.warning("%s: %s", self.target, problem)
            return replace(render(values), problem=problem)

    @property
    def problem(self) -> str | None:
        """Why it was sent with the built-in text; None: it was not, or nobody asked for a text."""
        rendered: Rendered | None = self.__dict__.get("rendered")
        return (rendered.problem or None) if rendered else None

    def body(self, now: datetime) -> dict[str, Any]:
        """The JSON for programs: each alert as it was published, with what `for_programs` adds."""
        return {
            "version": 1,
            "id": self.key,
            "target": self.target,
            "title": self.rendered.title,
            "text": self.rendered.text,
            "sent_at": now,
            "alerts": [
                msgspec.to_builtins(one.alert) | for_programs(one, self.style) for one in self.current
            ],
        }


def _identity(one: Delivery) -> Any:
    """Equal for deliveries about the same alert."""
    alert = one.alert
    return alert.alert_id or (alert.system_id, alert.alert_type, alert.subject)


def _rank(one: Delivery) -> tuple[bool, int, datetime]:
    alert = one.alert
    return alert.state == "resolved", SEVERITIES.index(alert.severity), alert.at
