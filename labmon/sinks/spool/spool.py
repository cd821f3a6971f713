"""Messages that could not be delivered: kept on disk, in order, until they can be."""

import logging
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from labmon.brokers.base import Message
from labmon.sinks.spool import spool_file
from labmon.sinks.spool.spool_file import COLUMNS, Damaged, SpoolError, SpoolFile, transaction

__all__ = ["QueueStatus", "Spool", "SpoolError", "SpoolStatus", "SpooledBatch", "SpooledMessage"]

logger = logging.getLogger(__name__)

SMALLEST = 2**20
"""Bytes. A bound below this would leave no room for a batch."""

WARN_EVERY = 60.0
"""Seconds between warnings about dropped messages; a long outage at the bound drops with every batch."""


@dataclass(frozen=True)
class SpooledBatch:
    """Messages to deliver next, by queue, each queue's in order."""

    messages: dict[str, list[Message]]
    numbers: dict[str, list[int]]  #: of these messages in the file, in the same order
    corrupt: list[int]  #: numbers of rows among them whose checksum is wrong: left out
    last: int  #: the highest number
    inode: int

    @property
    def count(self) -> int:
        """Of the messages that are there, perhaps none."""
        return sum(map(len, self.messages.values()))


@dataclass(frozen=True)
class SpooledMessage:
    """A message as `labmon spool list` shows it. What is corrupt is shown as far as it can be."""

    number: int
    queue: str
    database: str
    routing_key: str
    spooled_at: datetime
    body: bytes


@dataclass(frozen=True)
class QueueStatus:
    """The messages that wait for one queue."""

    queue: str
    messages: int
    oldest_at: datetime


@dataclass(frozen=True)
class SpoolStatus:
    """What is in the spool, and what befell it since its file was made."""

    file: str
    messages: int = 0
    bytes: int = 0  #: of the file that are in use; what `max_bytes` bounds
    oldest_at: datetime | None = None
    queues: list[QueueStatus] = field(default_factory=list)
    databases: dict[str, int] = field(default_factory=dict)  #: messages by identity; "": of no database
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

    def append(self, queue: str, messages: Sequence[Message], *, database: str = "") -> None:
        """Return once they are on the disk, behind all others: a crash or power cut does not take them.

        `database` is the identity (`labmon.store.identity`) of the database whose systems they are about; ""
        when they name none by its number. Raises SpoolError when they are not on the disk; after an error
        while writing they may be, which is harmless. Where a bound is exceeded, the oldest are dropped,
        counted and logged.
        """
        if not messages:
            return

        def work(db: sqlite3.Connection, _: int) -> tuple[int, int]:
            now = self._now()
            with transaction(db):
                self._file.reserve()
                spool_file.insert(db, (spool_file.row(None, queue, one, now, database) for one in messages))
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

    def oldest(
        self, limit: int = 500, *, after: int = 0, skip: Collection[str] = (), database: str = ""
    ) -> SpooledBatch | None:
        """The next messages in order, for `remove` once they are safe elsewhere. None when there are none.

        `after` is the `last` of the batch before. Left out are the queues in `skip` and, where `database` is
        given, the messages of any other database.
        """

        def work(db: sqlite3.Connection, inode: int) -> SpooledBatch | None:
            where, values = _matching(skip=skip, database=database)
            rows = db.execute(
                f"SELECT {COLUMNS} FROM message WHERE seq > ? AND {where} ORDER BY seq LIMIT ?",
                (after, *values, limit),
            ).fetchall()
            found = [row[0] for row in rows]
            if found != sorted(set(found)):
                raise Damaged(f"{self.path}: messages are out of order", inode)
            messages: dict[str, list[Message]] = {}
            numbers: dict[str, list[int]] = {}
            corrupt = []
            for row in rows:
                if spool_file.is_sound(row):
                    queue, message = spool_file.message(row)
                    messages.setdefault(queue, []).append(message)
                    numbers.setdefault(queue, []).append(row[0])
                else:
                    corrupt.append(row[0])
                    logger.warning("%s: message %d is corrupt; it is skipped", self.path, row[0])
            return SpooledBatch(messages, numbers, corrupt, found[-1], inode) if rows else None

        return self._file.call(work) if self._file.exists() else None

    def remove(self, batch: SpooledBatch, queues: Collection[str] | None = None) -> None:
        """Delete the messages of a batch, those of some queues where given. Repeatable.

        The corrupt ones of the batch go with them, and are counted.
        """
        gone = [*batch.corrupt]
        for queue in batch.numbers if queues is None else queues:
            gone += batch.numbers[queue]

        def work(db: sqlite3.Connection, inode: int) -> None:
            if inode != batch.inode or not gone:
                return  # Replaced since, with other numbers perhaps. They go out again, which is harmless.
            with transaction(db):
                removed = db.executemany(
                    "DELETE FROM message WHERE seq = ?", [(one,) for one in gone]
                ).rowcount
                spool_file.add(db, "corrupt", len(batch.corrupt) if removed else 0, self._now())
                if spool_file.one(db, f"SELECT count(*) FROM message WHERE seq IN ({gone[0]}, {gone[-1]})"):
                    raise Damaged(f"{self.path}: messages cannot be removed", inode)
            _shrink(db)

        self._file.call(work)

    def browse(
        self, limit: int, *, queue: str | None = None, other_than: str | None = None
    ) -> list[SpooledMessage]:
        """The oldest messages, for people: of one queue, or of databases other than that one."""
        where, values = _matching(queue=queue, other_than=other_than)
        query = f"SELECT {COLUMNS} FROM message WHERE {where} ORDER BY seq LIMIT ?"

        def work(db: sqlite3.Connection, _: int) -> list[SpooledMessage]:
            return [
                SpooledMessage(
                    number,
                    spool_file.text(queue),
                    spool_file.text(database),
                    spool_file.text(key),
                    _moment(at),
                    body if isinstance(body, bytes) else str(body).encode(),
                )
                for number, queue, _, key, _, at, body, _, database in db.execute(query, (*values, limit))
            ]

        return self._file.call(work) if self._file.exists() else []

    def drop(self, *, queue: str | None = None, other_than: str | None = None) -> int:
        """Delete messages for good: all, those of one queue, or those of databases other than that one.

        Returns how many. Does not wait: what another process is delivering at this moment may arrive.
        """
        where, values = _matching(queue=queue, other_than=other_than)

        def work(db: sqlite3.Connection, _: int) -> int:
            with transaction(db):
                dropped = db.execute(f"DELETE FROM message WHERE {where}", values).rowcount
            _shrink(db)
            return dropped

        return self._file.call(work) if self._file.exists() else 0

    @contextmanager
    def draining(self) -> Iterator[bool]:
        """True for the one process at a time that may take messages out. It is free again when that ends."""
        with self._file.draining() as mine:
            yield mine

    def is_empty(self) -> bool:
        """True when nothing waits."""
        return not self._file.exists() or self._file.call(lambda db, _: _first(db) is None)

    def count(self, *, queue: str | None = None, other_than: str | None = None) -> int:
        """How many messages wait: all, of one queue, or of databases other than that one."""
        where, values = _matching(queue=queue, other_than=other_than)
        query = f"SELECT count(*) FROM message WHERE {where}"
        if not self._file.exists():
            return 0
        return self._file.call(lambda db, _: int(spool_file.one(db, query, values)))

    def fill(self) -> float:
        """Percent of its bound that is in use. Reads a page or two, not the whole file."""
        if not self._file.exists():
            return 0.0
        used = self._file.call(lambda db, _: 0 if _first(db) is None else _used_bytes(db))
        return 100.0 * used / self._max_bytes

    def status(self) -> SpoolStatus:
        """Everything there is to tell. Reads the whole file."""
        bare = SpoolStatus(str(self.path), max_bytes=self._max_bytes, max_age=self._max_age)
        if not self._file.exists():
            return bare
        return self._file.call(lambda db, _: _status(db, bare))

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _status(db: sqlite3.Connection, bare: SpoolStatus) -> SpoolStatus:
    db.execute("BEGIN")  # one moment for all that follows
    queues = [
        QueueStatus(spool_file.text(queue), count, _moment(oldest))
        for queue, count, oldest in db.execute(
            "SELECT queue, count(*), min(spooled_at) FROM message GROUP BY queue ORDER BY queue"
        ).fetchall()
    ]
    databases = db.execute("SELECT database, count(*) FROM message GROUP BY database").fetchall()
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
        databases={spool_file.text(name): count for name, count in databases},
        dropped_for_room=room[0],
        dropped_for_age=age[0],
        last_dropped_at=_moment(dropped_at) if dropped_at else None,
        corrupt=corrupt[0],
        set_aside=aside[0],
    )


def _matching(
    *,
    queue: str | None = None,
    other_than: str | None = None,
    skip: Collection[str] = (),
    database: str = "",
) -> tuple[str, list[str]]:
    """A condition on messages and its values; see `Spool.oldest` and `Spool.browse`."""
    conditions, values = ["true"], []
    if queue is not None:
        conditions.append("queue = ?")
        values.append(queue)
    if other_than is not None:
        conditions.append("database NOT IN ('', ?)")
        values.append(other_than)
    if skip:
        conditions.append(f"queue NOT IN ({', '.join('?' * len(skip))})")
        values += skip
    if database:
        conditions.append("database IN ('', ?)")
        values.append(database)
    return " AND ".join(conditions), values


def _shrink(db: sqlite3.Connection) -> None:
    """Give the space of an emptied file back to the disk."""
    if _first(db) is None and _file_bytes(db) > SMALLEST:
        with suppress(sqlite3.OperationalError):  # another process is using it; the next time, then
            db.execute("VACUUM")


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
