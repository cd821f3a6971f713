"""When each machine was last asked what it is, and which use of its file systems was last sent.

    state/facts      MessagePack: {machine: Entry}

A machine is asked when a day has passed and after a boot, in the session in which it is measured anyway. It
is noted as asked before it answers: one whose answer takes too long loses one reading a day, and no more.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec

from labmon import files
from labmon.collect.probe.facts import in_bounds, line_of
from labmon.collect.probe.parse import Report
from labmon.collect.probe.script import FactsRequest
from labmon.collect.result import Result, Target
from labmon.facts import Facts, FileSystem, MachineFacts
from labmon.messages import MAX_BODY, encode

logger = logging.getLogger(__name__)

EVERY = 23.5 * 3600
"""Seconds. A little less than a day, so that a run that comes once a day always asks."""

POINT = 1.0
"""Percent by which a file system's use changes before it is sent again."""

KEPT = 30 * 86400.0
"""Seconds for which a machine that is not measured any more is remembered."""

_FACTS_BYTES = MAX_BODY * 3 // 4


class Entry(msgspec.Struct, array_like=True):
    """What is known of a machine."""

    asked_at: float = 0.0
    boot_id: str | None = None  #: in which it was asked
    sent_at: float = 0.0
    mounts: dict[str, tuple[float, float | None]] | None = None  #: percent used, percent of inodes


class FactsCache:
    """The entries, read once and written by `save`. Without a path: for as long as the process lives.

    Any thread may use it. What cannot be read is logged: all machines are then asked anew.
    """

    def __init__(
        self,
        path: Path | None = None,
        asks: FactsRequest | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`asks`: how machines are asked; with None none is."""
        self._path = path
        self._asks = asks
        self._clock = clock
        self._entries: dict[str, Entry] = self._read() if path else {}
        self._changed: set[str] = set()

    def due(self, target: Target, boot_id: str | None = None) -> FactsRequest | None:
        """How to ask this machine what it is, where that is due; `boot_id` is the one that it has now, if it
        is known. It counts as asked then."""
        if self._asks is None or target.system_id is None:
            return None
        entry = self._entries.get(target.key) or Entry()
        age = self._clock() - entry.asked_at
        booted = boot_id is not None and entry.boot_id not in (None, boot_id)
        if not booted and 0 <= age < EVERY:
            return None
        self._keep(target.key, asked_at=self._clock(), boot_id=boot_id or entry.boot_id)
        return self._asks

    def measured(self, target: Target, report: Report) -> None:
        """Note the boot in which a machine that was just asked was measured."""
        entry = self._entries.get(target.key)
        if entry and entry.boot_id is None and report.sample.boot_id is not None:
            self._keep(target.key, boot_id=report.sample.boot_id)

    def message(self, result: Result, now: datetime) -> Facts | None:
        """What is to be sent of a machine just measured: its facts where it was asked, its file systems where
        one changed by more than a point or came or went. None when nothing is new."""
        number, key = result.target.system_id, result.target.key
        if number is None or result.failure is not None:
            return None
        uses = {one.mount: (one.used_percent, one.inodes_percent) for one in result.mounts or ()}
        entry = self._entries.get(key) or Entry()
        moved = result.mounts is not None and (result.facts is not None or _moved(entry.mounts, uses))
        if result.facts is None and not moved:
            return None
        facts = result.facts and in_bounds(_with_server(result.facts, result.ssh_server), _FACTS_BYTES)
        if moved:
            self._keep(key, sent_at=self._clock(), mounts=uses)
        return _bounded(number, now, facts, list(result.mounts or ()) if moved else None)

    def save(self) -> None:
        """Add what is new to the file. Other processes may, too."""
        if self._path is None or not self._changed:
            return
        with files.locked(self._path):
            oldest = self._clock() - KEPT
            kept = {key: one for key, one in self._read().items() if max(one.asked_at, one.sent_at) >= oldest}
            changed, self._changed = self._changed, set()
            kept |= {key: self._entries[key] for key in changed}
            if not files.replace(self._path, msgspec.msgpack.encode(kept)):
                self._changed |= changed

    def _keep(self, key: str, **changes: object) -> None:
        entry = self._entries.get(key) or Entry()
        self._entries[key] = msgspec.structs.replace(entry, **changes)
        self._changed.add(key)

    def _read(self) -> dict[str, Entry]:
        assert self._path is not None
        try:
            return msgspec.msgpack.decode(self._path.read_bytes(), type=dict[str, Entry])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            logger.warning("%s: cannot be read, so it is written anew: %s", self._path, error)
            return {}


_Uses = dict[str, tuple[float, float | None]]


def _moved(before: _Uses | None, now: _Uses) -> bool:
    if before is None or before.keys() != now.keys():
        return True
    return any(
        abs((new or 0.0) - (old or 0.0)) > POINT
        for mount, uses in now.items()
        for old, new in zip(before[mount], uses, strict=True)
    )


def _with_server(facts: MachineFacts, server: str) -> MachineFacts:
    """With the software that the machine's SSH server names."""
    return msgspec.structs.replace(facts, ssh_server=line_of(server))


def _bounded(
    number: int, now: datetime, facts: MachineFacts | None, mounts: list[FileSystem] | None
) -> Facts:
    """A message that is not too large: without the last file systems where it would be."""
    while True:
        message = Facts(system_id=number, asked_at=now, facts=facts, filesystems=mounts)
        if not mounts or len(mounts) < 8 or len(encode(message)) <= MAX_BODY:
            return message
        mounts = mounts[: len(mounts) // 2]
