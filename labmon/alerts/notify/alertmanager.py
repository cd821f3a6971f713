"""Alertmanager as a target: alerts as its API version 2 has them (POST /api/v2/alerts).

An Alertmanager keeps alerts in memory and takes one to be over at its `endsAt`. So what fires is sent again
every minute, as Prometheus does it, and is over there at once when labmon says so, or soon after labmon has
fallen silent. What identifies an alert there are its labels: they are the same from its beginning
to its end.
"""

import time
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from labmon.alerts.deliveries import Delivery
from labmon.alerts.notify.facts import Style, for_texts
from labmon.alerts.notify.notification import Notification
from labmon.alerts.notify.sender import within
from labmon.alerts.notify.webhook import post_json
from labmon.messages import utcnow

RESEND = 60.0
"""Seconds between two times that it is sent what fires."""

LIFETIME = timedelta(seconds=4 * RESEND)
"""What fires is over after that, unless it was sent again. Below the five minutes of `resolve_timeout`."""


class AlertmanagerSender:
    """Posts alerts to one Alertmanager, at `alertmanager+https://USER:PASSWORD@HOST:9093/PREFIX`."""

    def __init__(self, url: str, timeout: float) -> None:
        parts = urlsplit(url.removeprefix("alertmanager+"))
        host = parts.netloc.rpartition("@")[2]
        self._url = f"{parts.scheme}://{host}{parts.path.rstrip('/')}/api/v2/alerts"
        self._auth = (
            (unquote(parts.username), unquote(parts.password or "")) if parts.username is not None else None
        )
        self._timeout = timeout

    @property
    def resend(self) -> float:
        return RESEND

    def send(self, notification: Notification) -> None:
        """Post its alerts. Raises SendFailed unless the answer is one of 2xx."""
        body = msgspec.json.encode([_alert(one, notification.style) for one in notification.current])
        within(
            self._timeout,
            lambda: post_json(self._url, body, self._timeout, auth=self._auth, now=time.time()),
        )


def _alert(one: Delivery, style: Style) -> dict[str, Any]:
    alert, known = one.alert, for_texts(one, style)
    is_over = alert.state == "resolved"
    labels = {
        "alertname": alert.alert_type.partition(":")[0],
        "severity": alert.severity,
        "instance": one.about,
        "system_id": str(alert.system_id) if alert.system_id else None,
        "subject": alert.subject,
        "mount": alert.mount,
        "place": one.place,
    }
    annotations = {
        "summary": f"{known['rule']} on {one.about}" + (f" {alert.mount}" if alert.mount else ""),
        "value": known["value"],
        "limit": known["limit"],
        "systems": ", ".join(alert.covers or ()),
        "reason": alert.reason,
        "note": alert.note,
        "alert_id": str(alert.alert_id) if alert.alert_id else None,
        "ack_command": known["ack_command"],
    }
    return {
        "labels": {name: value for name, value in labels.items() if value},
        "annotations": {name: value for name, value in annotations.items() if value},
        "startsAt": alert.since or alert.at,
        "endsAt": alert.at if is_over else utcnow() + LIFETIME,
    } | ({"generatorURL": link} if (link := style.link(alert.alert_id)) else {})
