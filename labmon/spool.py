"""What the broker could not take: kept on disk, in order, until it can."""

import fcntl
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from labmon import spool_file
from labmon.brokers.base import Message
from labmon.config import Config
from labmon.spool_file import COLUMNS, Damaged, SpoolError, SpoolFile, transaction

__all__ = ["Batch", "QueueStatus", "Spool", "SpoolError", "Status"]

logger = logging.getLogger(__name__)

SMALLEST = 2**20
"""Bytes. A bound below this would leave no room for a batch."""

WARN_EVERY = 60.0
"""Seconds between warnings about dropped messages; a long outage at the bound drops with every batch."""


@dataclass(frozen=True)
class Batch:
    """The oldest messages, by queue, each queue's in order."""

    messages: dict[str, list[Message]]
    corrupt: int  #: rows among them whose checksum is wrong, and which are left out
    last: int
    inode: int

    @property
    def count(self) -> int:
        """Of the messages that are there, perhaps none."""
        return sum(map(len, self.messages.values()))


@dataclass(frozen=True)
class QueueStatus:
    """The messages that wait for one queue."""

    queue: str
    messages: int
    oldest_at: datetime


@dataclass(frozen=True)
class Status:
    """What is in the spool, and what befell it since its file was made."""

    file: str
    messages: int = 0
    bytes: int = 0  #: of the file that are in use; what `max_bytes` bounds
    oldest_at: datetime | None = None
    queues: list[QueueStatus] = field(default_factory=list)
    max_bytes: int = 0
    max_age: float = 0.0
    dropped_for_room: int = 0
    dropped_for_age: int = 0
    last_dropped_at: datetime | None = None
    corrupt: int = 0  #: messages skipped since their checksum was wrong
    set_aside: int = 0  #: times that the whole file was damaged, and replaced


class Spool:
    """Messages in the order they were appended, whatever their queue. Any number of processes may use it.

    Anyone appends; one at a time takes out (`draining`). Every method raises SpoolError, and no other error
    of the disk. `dropped` counts what this object dropped at the bounds.
    """

    def __init__(
        self, path: Path, *, max_bytes: int, max_age: float, clock: Callable[[], float] = time.time
    ) -> None:
        """Touches no file: that begins with the first `append`. `clock` gives seconds since the epoch."""
        self.path = path
        self.dropped = 0
        self._file = SpoolFile(path)
        self._max_bytes = max(max_bytes, SMALLEST)
        self._max_age = max_age
        self._clock = clock
        self._warn_at = 0.0

    @classmethod
    def of(cls, config: Config) -> Self:
        """The one that the configuration describes."""
        path = config.state.path / "spool.db"
        return cls(path, max_bytes=config.spool.max_bytes, max_age=float(config.spool.max_age))

    def append(self, queue: str, messages: Sequence[Message]) -> None:
        """Return once they are on the disk, behind all others: a crash or power cut does not take them.

        Raises SpoolError when they are not; after an error while writing they may be, which is harmless.
        Where a bound is exceeded, the oldest are dropped, counted and logged.
        """
        if not messages:
            return

        def work(db: sqlite3.Connection, _: int) -> tuple[int, int]:
            now = self._now()
            with transaction(db):
                self._file.reserve()
                spool_file.insert(db, (spool_file.row(None, queue, one, now) for one in messages))
                old = _drop_older(db, now - int(self._max_age * 1000))
                excess = _drop_oldest(db, self._max_bytes)
                spool_file.add(db, "dropped_for_age", old, now)
                spool_file.add(db, "dropped_for_room", excess, now)
            return old, excess

        old, excess = self._file.call(work)
        self.dropped += old + excess
        if old + excess and time.monotonic() >= self._warn_at:
            self._warn_at = time.monotonic() + WARN_EVERY
            bound = "[spool] max_bytes" if excess else "[spool] max_age"
            logger.warning(
                "%s: the oldest messages are dropped (%d just now), since it is at its bound, %s",
                *(self.path, old + excess, bound),
            )

    def oldest(self, limit: int = 500) -> Batch | None:
        """The messages that are to go next, for `remove` once they are safe elsewhere. None when empty."""

        def work(db: sqlite3.Connection, inode: int) -> Batch | None:
            rows = db.execute(f"SELECT {COLUMNS} FROM message ORDER BY seq LIMIT ?", (limit,)).fetchall()
            numbers = [row[0] for row in rows]
            if numbers != sorted(set(numbers)):
                raise Damaged(f"{self.path}: messages are out of order", inode)
            messages: dict[str, list[Message]] = {}
            corrupt = 0
            for row in rows:
                if spool_file.is_sound(row):
                    queue, message = spool_file.message(row)
                    messages.setdefault(queue, []).append(message)
                else:
                    corrupt += 1
                    logger.warning("%s: message %d is corrupt; it is skipped", self.path, row[0])
            return Batch(messages, corrupt, numbers[-1], inode) if rows else None

        return self._file.call(work) if self._file.exists() else None

    def remove(self, batch: Batch) -> None:
        """Forget them, and count the corrupt ones among them. Repeatable."""

        def work(db: sqlite3.Connection, inode: int) -> None:
            if inode != batch.inode:
                return  # Replaced since, with other numbers perhaps. They go out again, which is harmless.
            with transaction(db):
                removed = db.execute("DELETE FROM message WHERE seq <= ?", (batch.last,)).rowcount
                spool_file.add(db, "corrupt", batch.corrupt if removed else 0, self._now())
                first = _first(db)
                if first is not None and first <= batch.last:  # or a drain would never end
                    raise Damaged(f"{self.path}: messages cannot be removed", inode)
            if first is None and _file_bytes(db) > SMALLEST:
                with suppress(sqlite3.OperationalError):  # somebody else is at it; the next time, then
                    db.execute("VACUUM")

        self._file.call(work)

    @contextmanager
    def draining(self) -> Iterator[bool]:
        """True for the one process at a time that may take messages out. It is free again when that dies."""
        with self._file.locked("draining", fcntl.LOCK_EX | fcntl.LOCK_NB) as mine:
            yield mine

    def is_empty(self) -> bool:
        """True when nothing waits."""
        return not self._file.exists() or self._file.call(lambda db, _: _first(db) is None)

    def count(self) -> int:
        """How many messages wait."""
        if not self._file.exists():
            return 0
        return self._file.call(lambda db, _: int(spool_file.one(db, "SELECT count(*) FROM message")))

    def fill(self) -> float:
        """Percent of its bound that is in use. Reads a page or two, not the whole file."""
        if not self._file.exists():
            return 0.0
        used = self._file.call(lambda db, _: 0 if _first(db) is None else _used_bytes(db))
        return 100.0 * used / self._max_bytes

    def status(self) -> Status:
        """Everything there is to tell. Reads the whole file."""
        bare = Status(str(self.path), max_bytes=self._max_bytes, max_age=self._max_age)
        if not self._file.exists():
            return bare
        return self._file.call(lambda db, _: _status(db, bare))

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _status(db: sqlite3.Connection, bare: Status) -> Status:
    db.execute("BEGIN")  # one moment for all that follows
    queues = [
        QueueStatus(spool_file.text(queue), count, _moment(oldest))
        for queue, count, oldest in db.execute(
            "SELECT queue, count(*), min(spooled_at) FROM message GROUP BY queue ORDER BY queue"
        ).fetchall()
    ]
    tally = spool_file.tally(db)
    used = _used_bytes(db)
    db.execute("COMMIT")
    room, age, corrupt, aside = (
        tally.get(name, (0, 0)) for name in ("dropped_for_room", "dropped_for_age", "corrupt", "set_aside")
    )
    dropped_at = max(room[1], age[1])
    return replace(
        bare,
        messages=sum(one.messages for one in queues),
        bytes=used if queues else 0,
        oldest_at=min((one.oldest_at for one in queues), default=None),
        queues=queues,
        dropped_for_room=room[0],
        dropped_for_age=age[0],
        last_dropped_at=_moment(dropped_at) if dropped_at else None,
        corrupt=corrupt[0],
        set_aside=aside[0],
    )


def _first(db: sqlite3.Connection) -> int | None:
    number: int | None = spool_file.one(db, "SELECT seq FROM message ORDER BY seq LIMIT 1")
    return number


def _file_bytes(db: sqlite3.Connection) -> int:
    return int(spool_file.one(db, "PRAGMA page_count") * spool_file.one(db, "PRAGMA page_size"))


def _used_bytes(db: sqlite3.Connection) -> int:
    free = spool_file.one(db, "PRAGMA freelist_count") * spool_file.one(db, "PRAGMA page_size")
    return _file_bytes(db) - int(free)


def _drop_older(db: sqlite3.Connection, than: int) -> int:
    """From the front up to the first that is younger: order matters more than a clock that was wrong."""
    return db.execute(
        "DELETE FROM message "
        "WHERE seq < (SELECT seq FROM message WHERE spooled_at >= ? ORDER BY seq LIMIT 1)",
        (than,),
    ).rowcount


def _drop_oldest(db: sqlite3.Connection, max_bytes: int) -> int:
    dropped = 0
    while (over := _used_bytes(db) - max_bytes) > 0 and _first(db) is not None:
        last = 0
        with closing(db.execute("SELECT seq, length(body) + 100 FROM message ORDER BY seq")) as rows:
            for seq, size in rows:
                last, over = seq, over - (size or 0)
                if over <= 0:
                    break
        dropped += db.execute("DELETE FROM message WHERE seq <= ?", (last,)).rowcount
    return dropped


def _moment(milliseconds: Any) -> datetime:
    """Of a number that may be corrupt."""
    seconds = min(max(spool_file.number(milliseconds) / 1000, 0), 250_000_000_000)
    return datetime.fromtimestamp(seconds, UTC)
