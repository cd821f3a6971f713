"""How full the queues are, judged: the thresholds, and the alert for a queue that stays too long.

A look lasts a moment, so what must be remembered between two of them (since when a queue is over its
threshold, whether somebody has been told) is in a file of the state folder, shared by cron, a terminal
with `--watch` and the workers.
"""

import fcntl
import json
from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum
from pathlib import Path

from labmon.brokers.base import Depth
from labmon.config import Queue
from labmon.messages import OURSELVES, Alert


class Level(IntEnum):
    """As monitoring plugins count; the numbers are exit codes."""

    ok = 0
    warning = 1
    critical = 2

    @property
    def advice(self) -> str:
        """What to do about it."""
        return ("", "add consumers", "alert operations")[self]


def level(depth: Depth, settings: Queue) -> Level:
    """How bad this is: by the messages that wait."""
    if depth.ready > settings.depth_critical:
        return Level.critical
    return Level.warning if depth.ready > settings.depth_warning else Level.ok


def due_alerts(depths: Mapping[str, Depth], settings: Queue, state_dir: Path, now: datetime) -> list[Alert]:
    """Remember this look, and return the alerts that are due: one for each queue that has been over
    `depth_critical` for `backlog_hold`, and then no more until it has been down to `depth_warning`.

    The alert's type is `queue_backlog:` and the queue's name; its `system_id` is 0, labmon itself.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    with open(state_dir / "backlog.json", "a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        remembered = _read(file.read())
        alerts = []
        for queue, depth in depths.items():
            since, told = remembered.get(queue, (None, False))
            if depth.ready > settings.depth_critical:
                since = since or now
                if not told and (now - since).total_seconds() >= settings.backlog_hold:
                    told = True
                    alerts.append(_alert(queue, depth, settings, now))
            else:
                since = None
                told = told and depth.ready > settings.depth_warning
            remembered[queue] = (since, told)
        file.truncate(0)
        json.dump({q: [s.isoformat() if s else None, t] for q, (s, t) in remembered.items()}, file)
    return alerts


def _read(text: str) -> dict[str, tuple[datetime | None, bool]]:
    try:
        return {
            queue: (datetime.fromisoformat(since) if since else None, bool(told))
            for queue, (since, told) in json.loads(text or "{}").items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}  # a disk that was full when it was written: the hold begins again


def _alert(queue: str, depth: Depth, settings: Queue, now: datetime) -> Alert:
    return Alert(
        system_id=OURSELVES,
        alert_type=f"queue_backlog:{queue}",
        severity="critical",
        value=float(depth.ready),
        threshold=float(settings.depth_critical),
        at=now,
    )
