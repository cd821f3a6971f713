"""The key of each machine, and the account that let labmon in: one SQLite file in the state folder.

Threads and processes share it. Every call is a transaction of its own. Written ahead (WAL) and not synced: a
process may be killed at any moment without harm, and a power cut may lose the newest pins, which are then
learnt again.
"""

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from labmon import files
from labmon.collect.hostkeys.public_key import HostKey
from labmon.errors import PermissionNeeded, StateDamaged

logger = logging.getLogger(__name__)

BUSY = 5.0
"""Seconds to wait for other processes, which need less than a millisecond."""

FORMAT = 3
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS pin (
    machine TEXT NOT NULL, kind TEXT NOT NULL, key BLOB NOT NULL, place TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (machine, kind, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pin_place ON pin (place);
CREATE TABLE IF NOT EXISTS account (machine TEXT PRIMARY KEY, user TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refused (
    machine TEXT PRIMARY KEY, kind TEXT NOT NULL, key BLOB NOT NULL, address TEXT NOT NULL,
    at INTEGER NOT NULL, changed INTEGER NOT NULL, reported INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS expected (machine TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ended (machine TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {FORMAT};
COMMIT;
"""

FROM_FORMAT_1 = "ALTER TABLE pin ADD COLUMN place TEXT NOT NULL DEFAULT ''"


_END = """
INSERT OR REPLACE INTO ended
SELECT machine, max(?, at + 1) FROM refused WHERE machine = ? AND changed AND reported
"""
"""The alert about a machine is over: its key was accepted, or it shows its own one again."""


@dataclass(frozen=True)
class Ended:
    """A change of a key that was reported and is over."""

    machine: str
    at: datetime


@dataclass(frozen=True)
class Refused:
    """A key that a machine showed and that was not taken. `changed`: it has, or had, another."""

    machine: str
    kind: str
    key: bytes
    address: str
    at: datetime  #: when it was first shown
    changed: bool


class Pins:
    """The file, made when it is missing. A machine is named by `HostIdentity.pin`, and where it answers by
    `HostIdentity.place`: one place has one machine, the last that showed its own key there.

    Opening raises PermissionNeeded, and StateDamaged for what is no such file. With `or_read_only`, a file on
    a full disk is opened for reading: then `learn` raises `sqlite3.OperationalError`, and what can be done
    without is not written. Later calls raise `sqlite3.Error`.
    """

    def __init__(self, file: Path, *, or_read_only: bool = False) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._is_read_only = False
        self.unwritten = ""  #: why something was not written
        with self.errors():
            try:
                self._open()
            except (OSError, sqlite3.OperationalError) as error:
                if or_read_only and files.is_full(file.parent):
                    self._open_to_read()
                elif isinstance(error, OSError):
                    raise self._unusable(error.strerror or str(error)) from error
                else:
                    raise

    def _open(self) -> None:
        self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._file = sqlite3.connect(self.file, timeout=BUSY, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except BaseException:
            self._file.close()
            raise

    def _open_to_read(self) -> None:
        """The pins as they were last written into the file itself: SQLite needs room to read its journal."""
        self._is_read_only = True
        has_pins = self.file.exists() and self.file.stat().st_size > 0
        name = f"{self.file.absolute().as_uri()}?mode=ro&immutable=1" if has_pins else ":memory:"
        self._file = sqlite3.connect(name, uri=has_pins, isolation_level=None, check_same_thread=False)
        if not has_pins:
            self._file.executescript(SCHEMA)
        elif self._format() != FORMAT:
            raise sqlite3.OperationalError("its newest part cannot be read")
        self._file.execute("PRAGMA query_only = ON")
        self._not_written("no new key is taken")

    def _not_written(self, said: str) -> None:
        if not self.unwritten:
            self.unwritten = f"the disk is full: {said}. Make room, or choose another [state] dir"
            logger.warning("%s: %s", self.file, self.unwritten)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Errors of SQLite as PermissionNeeded or StateDamaged, each with the next step."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise self._unusable(str(error)) from error
        except sqlite3.DatabaseError as error:
            raise StateDamaged(
                f"{self.file}: the host keys are kept there, and it is damaged: {error}. "
                "Move it away, and the keys are learnt anew at the next sight of each machine"
            ) from error

    def _prepare(self) -> None:
        if self._format() < FORMAT:
            # Of two processes that change the journal's mode at once one is refused, whatever its timeout.
            with files.locked(self.file):
                if self._format() < FORMAT:
                    if self._format() == 1:
                        self._file.execute(FROM_FORMAT_1)
                    self._file.execute("PRAGMA journal_mode = WAL")
                    self._file.executescript(SCHEMA)
        if self._format() > FORMAT:
            raise StateDamaged(f"{self.file}: a newer labmon has written it. Use that one")
        self._file.execute("PRAGMA synchronous = NORMAL")

    def _format(self) -> int:
        return int(self._file.execute("PRAGMA user_version").fetchone()[0])

    def _unusable(self, said: str) -> PermissionNeeded:
        step = f"{said}. Mend its permissions, or choose another [state] dir"
        if files.is_full(self.file.parent):
            step = "the disk is full. Make room, or choose another [state] dir"
        return PermissionNeeded(f"{self.file}: the host keys are kept there, and it cannot be used: {step}")

    def close(self) -> None:
        """Let go of the file. Repeatable."""
        with self._lock:
            self._file.close()

    def __len__(self) -> int:
        with self._lock:
            return int(self._file.execute("SELECT count(DISTINCT machine) FROM pin").fetchone()[0])

    def keys(self, machine: str) -> list[HostKey]:
        """The keys that a machine may show; none when it was never seen."""
        with self._lock:
            return self._keys(machine)

    def _keys(self, machine: str) -> list[HostKey]:
        return self._file.execute("SELECT kind, key FROM pin WHERE machine = ?", (machine,)).fetchall()

    def others_at(self, place: str, machine: str) -> list[tuple[str, HostKey]]:
        """The machine, and the keys, that this place has according to the pins, unless it is this machine."""
        with self._lock:
            rows = self._file.execute(
                "SELECT machine, kind, key FROM pin WHERE place = ? AND place <> '' AND machine <> ?",
                (place, machine),
            ).fetchall()
        return [(other, (kind, key)) for other, kind, key in rows]

    def learn(
        self, machine: str, key: HostKey, place: str = "", *, instead_of: str | None = None
    ) -> list[HostKey]:
        """Pin the key unless the machine has one, and return what it has then: another process may have
        been first. The pin of `instead_of`, another name of the machine, goes."""
        with self._changing():
            known = self._keys(machine)
            if not known:
                self._file.execute("INSERT INTO pin VALUES (?, ?, ?, '')", (machine, *key))
                self._forget(machine, "expected", "refused")
                if instead_of is not None:
                    self._file.execute("DELETE FROM pin WHERE machine = ?", (instead_of,))
                self._move(machine, place)
                known = [key]
        return known

    def _move(self, machine: str, place: str) -> None:
        self._file.execute("UPDATE pin SET place = '' WHERE place = ? AND machine <> ?", (place, machine))
        self._file.execute("UPDATE pin SET place = ? WHERE machine = ?", (place, machine))

    def was_refused(self, machine: str) -> bool:
        """True when the last key that it showed was not taken."""
        with self._lock:
            found = self._file.execute("SELECT 1 FROM refused WHERE machine = ?", (machine,)).fetchone()
        return found is not None

    def expected(self, machine: str) -> bool:
        """True when the next key it shows is to be taken unseen (see `expect`)."""
        with self._lock:
            found = self._file.execute("SELECT 1 FROM expected WHERE machine = ?", (machine,)).fetchone()
        return found is not None

    def expect(self, machines: Iterable[str]) -> None:
        """Forget their keys; the next that each shows is taken, whatever else is known about it."""
        with self._changing():
            for machine in machines:
                self._forget(machine, "pin", "refused")
                self._file.execute("INSERT OR IGNORE INTO expected VALUES (?)", (machine,))

    def trust(self, keys: Iterable[Refused]) -> None:
        """Take each of these in place of what its machine had."""
        with self._changing():
            for one in keys:
                self._forget(one.machine, "pin", "refused", "expected")
                self._file.execute("INSERT INTO pin VALUES (?, ?, ?, '')", (one.machine, one.kind, one.key))

    def _forget(self, machine: str, *tables: str) -> None:
        self._file.execute(_END, (_now(), machine))
        for table in tables:
            self._file.execute(f"DELETE FROM {table} WHERE machine = ?", (machine,))

    def refuse(self, machine: str, key: HostKey, address: str, *, changed: bool) -> None:
        """Remember what was refused, for `trust` and for the report. The same key again changes nothing."""
        with self._lock:
            before = self._file.execute("SELECT kind, key FROM refused WHERE machine = ?", (machine,))
            if before.fetchone() == key:
                return
        with self._noting():
            self._file.execute(
                "INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?, ?, ?)",
                (machine, *key, address, _now(), changed, not changed),
            )

    def mark_ok(self, machine: str, place: str = "") -> None:
        """The machine has shown its own key, at this place. What was refused of it before and reported is
        forgotten, so that it is reported again if it comes back."""
        with self._lock:
            found = self._file.execute(
                "SELECT 1 FROM refused WHERE machine = ? AND reported "
                "UNION ALL SELECT 1 FROM pin WHERE machine = ? AND place <> ?",
                (machine, machine, place),
            ).fetchone()
        if found is not None:
            with self._noting():
                self._file.execute(_END, (_now(), machine))
                self._file.execute("DELETE FROM refused WHERE machine = ? AND reported", (machine,))
                self._move(machine, place)

    def account(self, machine: str) -> str | None:
        """The account that last let labmon in there; None where none has."""
        with self._lock:
            found = self._file.execute("SELECT user FROM account WHERE machine = ?", (machine,)).fetchone()
        return found[0] if found else None

    def remember_account(self, machine: str, user: str) -> None:
        """This account has let labmon in. Writes only what has changed."""
        if self.account(machine) != user:
            with self._noting():
                self._file.execute("INSERT OR REPLACE INTO account VALUES (?, ?)", (machine, user))

    def refused(self, *, unreported: bool = False) -> list[Refused]:
        """The newest refused key of each machine; or those that were not reported yet."""
        with self._lock:
            rows = self._file.execute(
                "SELECT machine, kind, key, address, at, changed FROM refused "
                "WHERE NOT reported OR NOT ? ORDER BY at, machine",
                (unreported,),
            ).fetchall()
        return [
            Refused(machine, kind, key, address, _moment(at), bool(changed))
            for machine, kind, key, address, at, changed in rows
        ]

    def reported(self, keys: Iterable[Refused]) -> None:
        """An alert has been sent for these."""
        with self._noting():
            self._file.executemany(
                "UPDATE refused SET reported = 1 WHERE machine = ? AND kind = ? AND key = ?",
                [(one.machine, one.kind, one.key) for one in keys],
            )

    def ended(self) -> list[Ended]:
        """The changes that are over, and whose end was not reported yet."""
        with self._lock:
            rows = self._file.execute("SELECT machine, at FROM ended ORDER BY at, machine").fetchall()
        return [Ended(machine, _moment(at)) for machine, at in rows]

    def reported_ends(self, ends: Iterable[Ended]) -> None:
        """The ends of these have been sent."""
        with self._changing():
            self._file.executemany("DELETE FROM ended WHERE machine = ?", [(one.machine,) for one in ends])

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """A change that can be done without: while there is no room none is made, which is logged once."""
        try:
            with self._changing():
                yield
        except sqlite3.OperationalError as error:
            if not (self._is_read_only or files.is_full(self.file.parent)):
                raise
            self._not_written(str(error))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            self._file.execute("BEGIN" if self._is_read_only else "BEGIN IMMEDIATE")
            try:
                yield
                self._file.execute("COMMIT")
            except BaseException:
                if self._file.in_transaction:  # a full disk ends it by itself
                    self._file.execute("ROLLBACK")
                raise


def _now() -> int:
    return time.time_ns() // 1_000_000


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
