"""What the broker could not take: kept on disk, in order, until it can.

One SQLite file in the state folder, which every labmon process of the account may use at any time. It is
opened for each call and closed after it: that costs 0.3 ms beside an fsync of several, a process holds
nothing in between, and a damaged file can be replaced under the feet of the others.
"""

import fcntl
import logging
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from labmon.brokers.base import Message
from labmon.config import Config
from labmon.errors import Exit, LabmonError

logger = logging.getLogger(__name__)

FORMAT = 1
"""The file's `user_version`."""

SCHEMA = [
    # AUTOINCREMENT: a number that was removed is never used again, so "up to this one" stays true.
    """CREATE TABLE message (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, id TEXT NOT NULL,
        routing_key TEXT NOT NULL, high INTEGER NOT NULL, spooled_at INTEGER NOT NULL,
        body BLOB NOT NULL, checksum INTEGER NOT NULL)""",
    "CREATE TABLE tally (name TEXT PRIMARY KEY, count INTEGER NOT NULL, last_at INTEGER NOT NULL)",
    f"PRAGMA user_version = {FORMAT}",
]
"""Times are milliseconds since the epoch."""

COLUMNS = "seq, queue, id, routing_key, high, spooled_at, body, checksum"
SMALLEST = 2**20
"""Bytes. A bound below this would leave no room for a batch."""

RESERVE = 2**20
"""Bytes of the journal that are allocated while there is room. Removing messages needs them when there is
none, and a full disk could not be emptied otherwise."""

BUSY = 30.0
"""Seconds to wait for other processes, which need milliseconds."""

WARN_EVERY = 60.0
"""Seconds between warnings about dropped messages; a long outage at the bound drops with every batch."""

T = TypeVar("T")
Row = tuple[Any, ...]


class SpoolError(LabmonError):
    """The spool did not keep, or did not give, messages: no room, no permission, no such disk.

    It stands in for the broker, so its exit code is the broker's.
    """

    exit_code = Exit.BROKER


class _Damaged(SpoolError):
    """SQLite cannot make sense of the file."""

    def __init__(self, text: str, inode: int) -> None:
        super().__init__(text)
        self.inode = inode


@dataclass(frozen=True)
class Batch:
    """The oldest messages, by queue, each queue's in order."""

    messages: dict[str, list[Message]]
    corrupt: int  #: rows among them whose checksum is wrong, and which are left out
    last: int
    inode: int

    @property
    def count(self) -> int:
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
        self._max_bytes = max(max_bytes, SMALLEST)
        self._max_age = max_age
        self._clock = clock
        self._warn_at = 0.0

    @classmethod
    def of(cls, config: Config) -> Self:
        """The one that the configuration describes."""
        return cls(
            config.state.path / "spool.db",
            max_bytes=config.spool.max_bytes,
            max_age=float(config.spool.max_age),
        )

    def append(self, queue: str, messages: Sequence[Message]) -> None:
        """Return once they are on the disk, behind all others: a crash or power cut does not take them.

        Raises SpoolError when they are not; after an error while writing they may be, which is harmless.
        Where a bound is exceeded, the oldest are dropped, counted and logged.
        """
        if not messages:
            return

        def work(db: sqlite3.Connection, _: int) -> tuple[int, int]:
            now = self._now()
            with _transaction(db):
                self._reserve()
                _insert(db, (_row(None, queue, one, now) for one in messages))
                old = _drop_older(db, now - int(self._max_age * 1000))
                excess = _drop_oldest(db, self._max_bytes)
                _count(db, "dropped_for_age", old, now)
                _count(db, "dropped_for_room", excess, now)
            return old, excess

        old, excess = self._call(work)
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
                raise _Damaged(f"{self.path}: messages are out of order", inode)
            messages: dict[str, list[Message]] = {}
            corrupt = 0
            for row in rows:
                if _is_sound(row):
                    queue, message = _message(row)
                    messages.setdefault(queue, []).append(message)
                else:
                    corrupt += 1
                    logger.warning("%s: message %d is corrupt; it is skipped", self.path, row[0])
            return Batch(messages, corrupt, numbers[-1], inode) if rows else None

        return self._call(work) if self._exists() else None

    def remove(self, batch: Batch) -> None:
        """Forget them, and count the corrupt ones among them. Repeatable."""

        def work(db: sqlite3.Connection, inode: int) -> None:
            if inode != batch.inode:
                return  # Replaced since, with other numbers perhaps. They go out again, which is harmless.
            with _transaction(db):
                removed = db.execute("DELETE FROM message WHERE seq <= ?", (batch.last,)).rowcount
                _count(db, "corrupt", batch.corrupt if removed else 0, self._now())
                first = _one(db, "SELECT seq FROM message ORDER BY seq LIMIT 1")
                if first is not None and first <= batch.last:  # or a drain would never end
                    raise _Damaged(f"{self.path}: messages cannot be removed", inode)
            if _file_bytes(db) > SMALLEST and _is_empty(db):
                with suppress(sqlite3.OperationalError):  # somebody else is at it; the next time, then
                    db.execute("VACUUM")

        self._call(work)

    @contextmanager
    def draining(self) -> Iterator[bool]:
        """True for the one process at a time that may take messages out. It is free again when that dies."""
        with self._locked("draining", fcntl.LOCK_EX | fcntl.LOCK_NB) as mine:
            yield mine

    def is_empty(self) -> bool:
        """True when nothing waits."""
        return not self._exists() or self._call(lambda db, _: _is_empty(db))

    def count(self) -> int:
        """How many messages wait."""
        if not self._exists():
            return 0
        return self._call(lambda db, _: int(_one(db, "SELECT count(*) FROM message")))

    def status(self) -> Status:
        """Everything there is to tell. Reads the whole file."""
        bare = Status(str(self.path), max_bytes=self._max_bytes, max_age=self._max_age)
        if not self._exists():
            return bare

        def work(db: sqlite3.Connection, _: int) -> Status:
            db.execute("BEGIN")  # one moment for all that follows
            queues = [
                QueueStatus(queue.decode(errors="replace"), count, _moment(oldest))
                for queue, count, oldest in db.execute(
                    "SELECT queue, count(*), CAST(min(spooled_at) AS INTEGER) FROM message "
                    "GROUP BY queue ORDER BY queue"
                ).fetchall()
            ]
            tally = {name: (count, at) for name, count, at in db.execute("SELECT * FROM tally").fetchall()}
            used = _used_bytes(db)
            db.execute("COMMIT")
            room, age, corrupt, aside = (
                tally.get(name, (0, 0))
                for name in (b"dropped_for_room", b"dropped_for_age", b"corrupt", b"set_aside")
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

        return self._call(work)

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _exists(self) -> bool:
        try:
            return self.path.exists()
        except OSError as error:
            raise self._error(error) from error

    def _call(self, work: Callable[[sqlite3.Connection, int], T]) -> T:
        """Do something with the open file and its inode; once more if it was damaged and is replaced."""
        try:
            return self._once(work)
        except _Damaged as damage:
            self._replace(damage)
            return self._once(work)

    def _once(self, work: Callable[[sqlite3.Connection, int], T]) -> T:
        with self._locked("lock", fcntl.LOCK_SH), self._errors() as inode:
            with closing(_open(self.path)) as db:
                self._prepare(db)
                return work(db, inode)

    def _prepare(self, db: sqlite3.Connection) -> None:
        # A rollback journal, not WAL: no slower for batches (measured), and safe in home folders on NFS.
        # It stays where it is, so that there is room for it on a full disk.
        db.execute("PRAGMA journal_mode = PERSIST")
        db.execute(f"PRAGMA journal_size_limit = {RESERVE}")
        db.execute("PRAGMA synchronous = EXTRA")
        db.execute("PRAGMA cell_size_check = ON")
        found = _one(db, "PRAGMA user_version")
        if found > FORMAT:
            raise SpoolError(f"{self.path}: made by a newer labmon. Use that one, or move the file away")
        if found < FORMAT:
            with _transaction(db):
                if _one(db, "PRAGMA user_version") < FORMAT:  # nobody was faster
                    for statement in SCHEMA:
                        db.execute(statement)

    def _reserve(self) -> None:
        """Make the journal as large as removing a batch needs it. For the one who has the write lock."""
        journal = _journal(self.path)
        with suppress(OSError):
            if not journal.exists() or journal.stat().st_size < RESERVE:
                descriptor = os.open(journal, os.O_RDWR | os.O_CREAT, 0o600)
                try:
                    os.posix_fallocate(descriptor, 0, RESERVE)
                finally:
                    os.close(descriptor)

    @contextmanager
    def _locked(self, name: str, how: int) -> Iterator[bool]:
        """A lock file beside the spool; False when LOCK_NB was asked for and somebody else has it.

        `lock`: shared by all who use the file, alone for whoever replaces it. Two locks, both of the kernel:
        they end with their process, however it ends.
        """
        try:
            self.path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            lock = os.open(self.path.with_name(f"{self.path.name}.{name}"), os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._error(error) from error
        try:
            try:
                fcntl.flock(lock, how)
                held = True
            except BlockingIOError:
                held = False
            except OSError as error:
                raise self._error(error) from error
            yield held
        finally:
            os.close(lock)

    @contextmanager
    def _errors(self) -> Iterator[int]:
        """Make the file if there is none; errors of the disk as SpoolError, of its contents as _Damaged."""
        inode = 0
        try:
            inode = _made(self.path)
            yield inode
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise _Damaged(f"{self.path}: {error}", inode) from error
            raise self._error(error, code) from error
        except OSError as error:
            raise self._error(error) from error

    def _error(self, error: Exception, code: int = 0) -> SpoolError:
        if code == sqlite3.SQLITE_FULL:
            return SpoolError(f"{self.path}: the disk is full. Make room, or move [state] dir")
        if code == sqlite3.SQLITE_BUSY:
            return SpoolError(f"{self.path}: other processes kept it busy for {BUSY:.0f} s")
        said = getattr(error, "strerror", None) or str(error)
        return SpoolError(f"{self.path}: {said}. Check its owner, its disk and [state] dir")

    def _replace(self, damage: _Damaged) -> None:
        """Begin a new file with what can be read of the damaged one, which is kept beside it."""
        with self._locked("lock", fcntl.LOCK_EX), self._errors() as inode:
            if inode != damage.inode:
                return  # another process has done it
            fresh = self.path.with_name(f"{self.path.name}.new")
            for leftover in (fresh, _journal(fresh)):
                leftover.unlink(missing_ok=True)
            saved = self._save(self.path, fresh)
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
            aside = self.path.with_name(f"{self.path.name}.corrupt-{stamp}")
            try:
                os.link(self.path, aside)  # so that there is a spool under its name at every moment
            except OSError:
                os.rename(self.path, aside)
            with suppress(FileNotFoundError):  # it would be played back into the new file
                os.rename(_journal(self.path), _journal(aside))
            os.replace(fresh, self.path)
            _sync_folder(self.path.parent)
        logger.error("%s; set aside as %s, and %d messages saved out of it", damage, aside.name, saved)

    def _save(self, old: Path, new: Path) -> int:
        _made(new)
        saved = 0
        with closing(_open(old)) as source, closing(_open(new)) as target:
            self._prepare(target)
            with _transaction(target):
                for row in filter(_is_sound, _readable(source)):
                    _insert(target, [_row(row[0], *_message(row), row[5])])
                    saved += 1
                with suppress(sqlite3.Error):
                    for name, count, at in source.execute("SELECT * FROM tally").fetchall():
                        _count(target, name.decode(), count, at)
                _count(target, "set_aside", 1, self._now())
        return saved


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
    db.text_factory = bytes  # what is corrupt may be no text
    return db


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # some errors end it by themselves
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        raise


def _made(path: Path) -> int:
    """The file's inode; made, and its name durable, if it was not there."""
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        _sync_folder(path.parent)
        _sync_folder(path.parent.parent)
    return path.stat().st_ino


def _sync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # we may enter it but not read it, so it is not ours to have made
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}-journal")


def _one(db: sqlite3.Connection, query: str) -> Any:
    rows = db.execute(query).fetchall()
    return rows[0][0] if rows else None


def _is_empty(db: sqlite3.Connection) -> bool:
    return _one(db, "SELECT seq FROM message LIMIT 1") is None


def _file_bytes(db: sqlite3.Connection) -> int:
    return int(_one(db, "PRAGMA page_count") * _one(db, "PRAGMA page_size"))


def _used_bytes(db: sqlite3.Connection) -> int:
    return _file_bytes(db) - int(_one(db, "PRAGMA freelist_count") * _one(db, "PRAGMA page_size"))


def _row(seq: int | None, queue: str, one: Message, at: int) -> Row:
    fields = (queue.encode(), one.id.encode(), one.routing_key.encode(), int(one.high), at, one.body)
    return seq, queue, one.id, one.routing_key, int(one.high), at, one.body, _checksum(*fields)


def _checksum(*fields: Any) -> int:
    return zlib.crc32(fields[-1], zlib.crc32(repr(fields[:-1]).encode()))


def _is_sound(row: Row) -> bool:
    return isinstance(row[6], bytes) and _checksum(*row[1:7]) == row[7]


def _message(row: Row) -> tuple[str, Message]:
    _, queue, id, routing_key, high, _, body, _ = row
    return queue.decode(), Message(id.decode(), body, routing_key.decode(), bool(high))


def _insert(db: sqlite3.Connection, rows: Iterable[Row]) -> None:
    db.executemany(f"INSERT INTO message ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)


def _count(db: sqlite3.Connection, name: str, count: int, now: int) -> None:
    if count:
        db.execute(
            "INSERT INTO tally VALUES (?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET count = count + excluded.count, last_at = excluded.last_at",
            (name, count, now),
        )


def _drop_older(db: sqlite3.Connection, than: int) -> int:
    """From the front up to the first that is younger: order matters more than a clock that was wrong."""
    return db.execute(
        "DELETE FROM message "
        "WHERE seq < (SELECT seq FROM message WHERE spooled_at >= ? ORDER BY seq LIMIT 1)",
        (than,),
    ).rowcount


def _drop_oldest(db: sqlite3.Connection, max_bytes: int) -> int:
    dropped = 0
    while (over := _used_bytes(db) - max_bytes) > 0 and not _is_empty(db):
        last = 0
        with closing(db.execute("SELECT seq, length(body) + 100 FROM message ORDER BY seq")) as rows:
            for seq, size in rows:
                last, over = seq, over - (size or 0)
                if over <= 0:
                    break
        dropped += db.execute("DELETE FROM message WHERE seq <= ?", (last,)).rowcount
    return dropped


def _readable(db: sqlite3.Connection) -> Iterator[Row]:
    """The rows of a damaged file: from the front up to the damage, then from the end down to it."""
    front = 0
    for order in ("ASC", "DESC"):
        last: int | None = None
        with closing(db.cursor()) as cursor, suppress(sqlite3.Error):
            query = f"SELECT {COLUMNS} FROM message WHERE seq > ? ORDER BY seq {order}"
            for row in cursor.execute(query, (front,)):
                if last is not None and (row[0] > last) != (order == "ASC"):
                    break  # the damage made a circle of the tree
                last = row[0]
                yield row
        front = last or front


def _moment(milliseconds: int) -> datetime:
    """Of a number that may be corrupt."""
    return datetime.fromtimestamp(min(max(milliseconds / 1000, 0), 250_000_000_000), UTC)
