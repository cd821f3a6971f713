"""The spool's file: SQLite, opened for each call, shared by processes, replaced when it is damaged.

Opening costs 0.3 ms beside an fsync of several. In return a process holds nothing between calls, and a
damaged file can be replaced under the feet of the others.
"""

import logging
import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from labmon import files
from labmon.brokers.base import Message
from labmon.errors import Exit, LabmonError

logger = logging.getLogger(__name__)

FORMAT = 2
"""The file's `user_version`. Numbers up to `NEWER` are later formats, others are damage. Format 1 had no
column `database`."""

NEWER = 1000

SCHEMA = [
    # AUTOINCREMENT: a number that was removed is never used again, so "up to this one" stays true.
    """CREATE TABLE message (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, id TEXT NOT NULL,
        routing_key TEXT NOT NULL, high INTEGER NOT NULL, spooled_at INTEGER NOT NULL,
        body BLOB NOT NULL, checksum INTEGER NOT NULL, database TEXT NOT NULL DEFAULT '')""",
    "CREATE TABLE tally (name TEXT PRIMARY KEY, count INTEGER NOT NULL, last_at INTEGER NOT NULL)",
    f"PRAGMA user_version = {FORMAT}",
]
"""Times are milliseconds since the epoch. `database`: whose numbers the message has, see `Spool.append`."""

UPGRADE = [
    "ALTER TABLE message ADD COLUMN database TEXT NOT NULL DEFAULT ''",
    f"PRAGMA user_version = {FORMAT}",
]
"""From format 1."""

COLUMNS = "seq, queue, id, routing_key, high, spooled_at, body, checksum, database"

RESERVE = 2**20
"""Bytes of the journal that are allocated while there is room. Removing messages needs them when there is
none, and a full disk could not be emptied otherwise."""

BUSY = 30.0
"""Seconds to wait for the write lock of SQLite, which other processes hold for milliseconds."""

ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""The second is SQLite telling of a damaged schema, in the words of that schema."""

DAMAGE = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    # With statements that are right, these too:
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
)

T = TypeVar("T")
Row = tuple[Any, ...]


class SpoolError(LabmonError):
    """The spool did not keep, or did not give, messages: no room, no permission, no such disk.

    It stands in for the broker, so its exit code is the broker's.
    """

    exit_code = Exit.BROKER


class Damaged(SpoolError):
    """The file makes no sense. Raised within `SpoolFile.call`, it has the file replaced."""

    def __init__(self, text: str, inode: int) -> None:
        super().__init__(text)
        self.inode = inode


class SpoolFile:
    """Makes the file and its folder when they are first needed. Every method raises SpoolError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        """True once anything has been kept."""
        try:
            return self.path.exists()
        except OSError as error:
            raise self._error(error) from error

    def call(self, work: Callable[[sqlite3.Connection, int], T]) -> T:
        """Do something with the open file and its inode; once more if it was damaged and is replaced."""
        try:
            return self._once(work)
        except Damaged as damage:
            self._replace(damage)
            return self._once(work)

    def reserve(self) -> None:
        """Make the journal as large as removing a batch needs it. For the holder of the write lock."""
        journal = _journal(self.path)
        with suppress(OSError):
            if not journal.exists() or journal.stat().st_size < RESERVE:
                descriptor = os.open(journal, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
                try:
                    os.posix_fallocate(descriptor, 0, RESERVE)
                finally:
                    os.close(descriptor)

    @contextmanager
    def draining(self) -> Iterator[bool]:
        """True for the one process at a time that may take messages out. Free again when that one ends."""
        with self._lock("draining", timeout=0) as held:
            yield held

    @contextmanager
    def _lock(
        self, name: str, *, shared: bool = False, timeout: float = files.LOCK_TIMEOUT
    ) -> Iterator[bool]:
        """A lock file beside the spool. False when another process has it after `timeout` seconds."""
        with ExitStack() as stack:
            try:
                files.make_folder(self.path.parent)
                lock = self.path.with_name(f"{self.path.name}.{name}")
                held = stack.enter_context(files.holding(lock, shared=shared, timeout=timeout))
            except OSError as error:
                raise self._error(error) from error
            yield held

    @contextmanager
    def _in_place(self, *, alone: bool = False) -> Iterator[None]:
        """No process replaces the file during the block; with `alone`, no other has it open either."""
        with self._lock("lock", shared=not alone) as held:
            if not held:
                raise SpoolError(
                    f"{self.path}: another process holds {self.path.name}.lock. "
                    f"See which: fuser {self.path}.lock"
                )
            yield

    def _once(self, work: Callable[[sqlite3.Connection, int], T]) -> T:
        with self._in_place(), self._errors() as inode:
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
        found = one(db, "PRAGMA user_version")
        if FORMAT < found <= NEWER:
            raise SpoolError(f"{self.path}: made by a newer labmon. Use that one, or move the file away")
        if not 0 <= found <= FORMAT:
            raise sqlite3.DatabaseError("the file has an unknown format")
        if found < FORMAT:
            with transaction(db):
                found = one(db, "PRAGMA user_version")  # another process may have been faster
                for statement in {0: SCHEMA, 1: UPGRADE}.get(found, []):
                    db.execute(statement)

    @contextmanager
    def _errors(self) -> Iterator[int]:
        """Make the file if there is none; errors of the disk as SpoolError, of its contents as Damaged."""
        inode = 0
        try:
            inode = _made(self.path)
            yield inode
        except ERRORS as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
            if code in DAMAGE:
                raise Damaged(f"{self.path}: {error}", inode) from error
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

    def _replace(self, damage: Damaged) -> None:
        """Begin a new file with what can be read of the damaged one, which is kept beside it."""
        with self._in_place(alone=True), self._errors() as inode:
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
            with suppress(FileNotFoundError):  # it could be played back into the new file
                os.rename(_journal(self.path), _journal(aside))
            os.replace(fresh, self.path)
            _journal(fresh).unlink(missing_ok=True)
            _sync_folder(self.path.parent)
        logger.error("%s; set aside as %s, and %d messages saved out of it", damage, aside.name, saved)

    def _save(self, old: Path, new: Path) -> int:
        _made(new)
        saved = 0
        with closing(_open(old)) as source, closing(_open(new)) as target:
            self._prepare(target)
            with transaction(target):
                for found in filter(is_sound, _readable(source)):
                    insert(target, [row(found[0], *message(found), found[5], database(found))])
                    saved += 1
                with suppress(*ERRORS):
                    for name, (count, at) in tally(source).items():
                        add(target, name, count, at)
                add(target, "set_aside", 1, int(time.time() * 1000))
        return saved


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
    db.text_factory = bytes  # what is corrupt may be no text
    return db


def _made(path: Path) -> int:
    """The file's inode; made, and its name durable, if it was not there."""
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600))
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


def _readable(db: sqlite3.Connection) -> Iterator[Row]:
    """The rows of a damaged file: from the front up to the damage, then from the end down to it."""
    front = 0
    for order in ("ASC", "DESC"):
        last: int | None = None
        with closing(db.cursor()) as cursor, suppress(*ERRORS):
            query = f"SELECT * FROM message WHERE seq > ? ORDER BY seq {order}"  # perhaps of format 1
            for found in cursor.execute(query, (front,)):
                out_of_order = last is not None and (found[0] > last) != (order == "ASC")
                if out_of_order or found[0] <= front:
                    break  # the damage made a circle of the tree
                last = found[0]
                yield found
        front = last or front


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """The write lock, and at the end of the block a commit that is on the disk, or a rollback."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # some errors end it by themselves
            with suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        raise


def one(db: sqlite3.Connection, query: str, values: Sequence[Any] = ()) -> Any:
    """The first value of the first row, None without one."""
    rows = db.execute(query, values).fetchall()
    return rows[0][0] if rows else None


def row(seq: int | None, queue: str, message: Message, at: int, database: str = "") -> Row:
    """A message as `COLUMNS`; without `seq`, the next number."""
    fields = (queue, message.id, message.routing_key, int(message.high), at, message.body)
    return seq, *fields, _checksum(fields, database.encode()), database


def is_sound(found: Row) -> bool:
    """True when a row is what was written."""
    return (
        isinstance(found[6], bytes) and _checksum(found[1:7], found[8] if len(found) > 8 else b"") == found[7]
    )


def _checksum(fields: Row, database: Any) -> int:
    """Of a row without a database as format 1 had it."""
    *columns, body = (one.encode() if isinstance(one, str) else one for one in fields)
    columns += [database] if database else []
    return zlib.crc32(body, zlib.crc32(repr(tuple(columns)).encode()))


def message(found: Row) -> tuple[str, Message]:
    """The queue and the message of a sound row."""
    queue, id, routing_key, high, _, body = found[1:7]
    return queue.decode(), Message(id.decode(), body, routing_key.decode(), bool(high))


def database(found: Row) -> str:
    """Of a sound row: the identity of the database whose numbers the message has; "" for none."""
    return str(found[8].decode()) if len(found) > 8 else ""


def insert(db: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Add rows of `row`."""
    db.executemany(f"INSERT INTO message ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def add(db: sqlite3.Connection, name: str, count: int, at: int) -> None:
    """Count something in the tally."""
    if count:
        db.execute(
            "INSERT INTO tally VALUES (?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET count = count + excluded.count, last_at = excluded.last_at",
            (name, count, at),
        )


def tally(db: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    """Everything counted: how often, and when last."""
    rows = db.execute("SELECT name, count, last_at FROM tally").fetchall()
    return {text(name): (number(count), number(at)) for name, count, at in rows}


def text(value: Any) -> str:
    """A text that may be corrupt, to be shown."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def number(value: Any) -> int:
    """A number that may be corrupt, to be shown."""
    return value if isinstance(value, int) else 0
