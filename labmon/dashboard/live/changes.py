"""What has changed since the last look, as server-sent events."""

from collections.abc import Callable
from dataclasses import asdict, replace
from threading import Lock
from typing import Any

from labmon.alerts import incidents
from labmon.dashboard import web
from labmon.dashboard.context import Context
from labmon.dashboard.live.queues import Queues
from labmon.dashboard.live.shared import Shared
from labmon.dashboard.live.summary import Summary
from labmon.dashboard.live.systems import Snapshot, difference, encoded
from labmon.errors import LabmonError
from labmon.pg import Error

MANY = 500
"""Alerts that one event carries; a client that has to know of more asks for them."""


def event(name: str, data: bytes, sequence: int = 0) -> bytes:
    """One server-sent event. JSON has no line break."""
    return b"".join(
        (f"id: {sequence}\n".encode() if sequence else b"", f"event: {name}\ndata: ".encode(), data, b"\n\n")
    )


class Changes:
    """One look after the other. For one thread at a time."""

    def __init__(
        self, context: Context, systems: Shared[Snapshot], queues: Shared[Queues], summary: Shared[Summary]
    ) -> None:
        self._context = context
        self._systems = systems
        self._queues = queues
        self._summary = summary
        self._snapshot: Snapshot | None = None
        self._marks: dict[int, tuple[Any, ...]] | None = None
        self._sent: dict[str, bytes] = {}
        self._problem: str | None = None
        self._losses = 0
        self._lock = Lock()

    def first(self) -> bytes:
        """What a new listener is sent at once: the overview and the queues, or why there are none."""
        if self._problem is not None:
            return event("problem", web.encoded({"detail": self._problem}))
        return b"".join(
            event(name, data, self._sequence)
            for name, data in self._sent.items()
            if name in ("summary", "queues")
        )

    @property
    def _sequence(self) -> int:
        return self._snapshot.sequence if self._snapshot else 0

    def look(self, send: Callable[[bytes], None]) -> None:
        """Send the events since the last look, all in one; nothing when nothing has changed. Never raises.

        The database being away is an event `problem`, once; when it is back, `reset` says: fetch all again.
        """
        losses = self._losses
        try:
            found = self._look()
        except (LabmonError, Error) as error:
            self.lost(str(error), send)
            return
        with self._lock:
            if self._losses != losses:  # during this look: the next one shows whether it is back
                return
            if self._problem is not None:
                self._problem = None
                found = event("reset", b"{}", self._sequence) + found
            if found:
                send(found)

    def lost(self, detail: str, send: Callable[[bytes], None]) -> None:
        """Send that the database is away, unless that is known. Any thread may call it, during a look too."""
        with self._lock:
            self._losses += 1
            if self._problem is None:
                self._problem = detail
                send(event("problem", web.encoded({"detail": detail})))

    def _look(self) -> bytes:
        events = []
        snapshot = self._systems.get()
        if self._snapshot is not None and snapshot is not self._snapshot:
            changed, removed = difference(self._snapshot, snapshot)
            body = encoded(snapshot.sequence, changed, removed=removed)
            events.append(event("systems", body, snapshot.sequence))
        self._snapshot = snapshot
        if alerts := self._changed_alerts():
            events.append(event("alerts", web.encoded({"items": alerts}), snapshot.sequence))
        queues = web.encoded(self._queues.get())
        if self._sent.get("queues") != queues:
            self._sent["queues"] = queues
            events.append(event("queues", queues, snapshot.sequence))
        summary = self._summary.get()
        # Its own time always differs.
        mark = web.encoded(asdict(replace(summary, now=summary.newest_reading_at or summary.now)))
        if self._sent.get("mark") != mark:
            self._sent["mark"] = mark
            self._sent["summary"] = web.encoded(summary)
            events.append(event("summary", self._sent["summary"], snapshot.sequence))
        return b"".join(events)

    def _changed_alerts(self) -> list[incidents.Incident]:
        with self._context.transaction() as connection:
            marks = incidents.marks(connection)
            before, self._marks = self._marks, marks
            if before is None:
                return []
            changed = [number for number, mark in marks.items() if before.get(number) != mark]
            changed += before.keys() - marks.keys()
            return incidents.named(connection, changed[:MANY]) if changed else []
