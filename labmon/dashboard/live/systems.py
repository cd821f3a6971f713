"""All systems as they were last read, and the same as JSON: one list for all who ask."""

import gzip
import time
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from threading import Lock
from typing import Any

from labmon.dashboard import web
from labmon.dashboard.context import Context
from labmon.fleet import Lab
from labmon.store.inventory import labs
from labmon.store.inventory.states import COLUMNS, STATES, SystemState, SystemStates

_encoding = Lock()


@dataclass(frozen=True)
class Snapshot:
    """The systems at one moment. `sequence` grows with each change, also over restarts of this process.

    What has not changed since the snapshot before is the same object in both.
    """

    sequence: int
    at: datetime
    systems: tuple[SystemState, ...]
    labs: tuple[Lab, ...]

    @cached_property
    def by_id(self) -> dict[int, SystemState]:
        """The systems by number."""
        return {one.system_id: one for one in self.systems}

    @cached_property
    def newest_reading_at(self) -> datetime | None:
        """When the newest reading of all was taken, as far as that is not in the future."""
        times = (one.last_collected for one in self.systems if one.last_collected is not None)
        return max((at for at in times if at <= self.at), default=None)

    @cached_property
    def body(self) -> bytes:
        """As JSON: {sequence, columns, rows}. Made once, by the first request."""
        return encoded(self.sequence, self.systems)

    @cached_property
    def body_gzip(self) -> bytes:
        """The same, compressed."""
        with _encoding:
            return gzip.compress(self.body, 5, mtime=0)


def difference(before: Snapshot, after: Snapshot) -> tuple[tuple[SystemState, ...], tuple[int, ...]]:
    """The systems that changed or are new, and the numbers of those that are gone."""
    known = before.by_id
    changed = tuple(one for one in after.systems if known.get(one.system_id) is not one)
    return changed, tuple(sorted(known.keys() - after.by_id.keys()))


def encoded(sequence: int, rows: tuple[SystemState, ...], **more: Any) -> bytes:
    """Rows of systems as JSON."""
    return web.encoded({"sequence": sequence, "columns": COLUMNS, "rows": rows, **more})


class SystemsReader:
    """Makes one snapshot of the one before. For one thread at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._states = SystemStates()
        self._last: Snapshot | None = None

    def __call__(self) -> Snapshot:
        """The systems of now; the same snapshot when nothing has changed. Raises StoreError."""
        now = self._context.now()
        with self._context.transaction() as connection:
            systems = tuple(self._states.read(connection, now))
            rooms = tuple(labs.names(connection))
        before = self._last
        if before is None:
            self._last = Snapshot(int(time.time() * 1000), now, systems, rooms)
        elif systems != before.systems or rooms != before.labs:
            known = before.by_id
            kept = (known[one.system_id] if known.get(one.system_id) == one else one for one in systems)
            self._last = Snapshot(before.sequence + 1, now, tuple(kept), rooms)
        assert self._last is not None
        return self._last


def counted(systems: list[SystemState] | tuple[SystemState, ...]) -> dict[str, int]:
    """How many are in each state; all states are there."""
    found = dict.fromkeys(STATES, 0)
    for one in systems:
        found[one.state] += 1
    return found
