"""Which key each machine has: one SQLite file in the state folder, shared by threads and processes.

Every call is a transaction of its own. Written ahead (WAL) and not synced: a process may be killed at any
moment without harm, and a power cut may lose the newest pins, which are then learnt again.
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
from labmon.collect.known_hosts import HostKey
from labmon.errors import LabmonError, PermissionNeeded

logger = logging.getLogger(__name__)

BUSY = 5.0
"""Seconds to wait for other processes, which need less than a millisecond."""

FORMAT = 1
SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS pin (
    machine TEXT NOT NULL, kind TEXT NOT NULL, key BLOB NOT NULL, PRIMARY KEY (machine, kind, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refused (
    machine TEXT PRIMARY KEY, kind TEXT NOT NULL, key BLOB NOT NULL, address TEXT NOT NULL,
    at INTEGER NOT NULL, changed INTEGER NOT NULL, reported INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS expected (machine TEXT PRIMARY KEY) WITHOUT ROWID;
PRAGMA user_version = {FORMAT};
COMMIT;
"""


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
    """The file, made when it is missing. A machine is named by `hostkeys.Machine.pin`.

    Opening raises PermissionNeeded, and LabmonError for what is no such file; later calls raise
    `sqlite3.Error`.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._file = sqlite3.connect(file, timeout=BUSY, isolation_level=None, check_same_thread=False)
            self._prepare()
        except OSError as error:
            raise self._unusable(error.strerror or str(error)) from error
        except sqlite3.OperationalError as error:
            raise self._unusable(str(error)) from error
        except sqlite3.DatabaseError as error:
            raise LabmonError(
                f"{file}: the host keys are kept there, and it is damaged: {error}. "
                "Move it away, and the keys are learnt anew at the next sight of each machine"
            ) from error

    def _prepare(self) -> None:
        if self._format() < FORMAT:
            # Of two who change the journal's mode at once one is refused, whatever its timeout.
            with files.locked(self.file):
                if self._format() < FORMAT:
                    self._file.execute("PRAGMA journal_mode = WAL")
                    self._file.executescript(SCHEMA)
        if self._format() > FORMAT:
            raise LabmonError(f"{self.file}: a newer labmon has written it. Use that one")
        self._file.execute("PRAGMA synchronous = NORMAL")

    def _format(self) -> int:
        return int(self._file.execute("PRAGMA user_version").fetchone()[0])

    def _unusable(self, said: str) -> PermissionNeeded:
        return PermissionNeeded(
            f"{self.file}: the host keys are kept there, and it cannot be used: {said}. "
            "Mend its permissions, or choose another [state] dir"
        )

    def close(self) -> None:
        """Let go of the file. Repeatable."""
        with self._lock:
            self._file.close()

    def __len__(self) -> int:
        with self._lock:
            return int(self._file.execute("SELECT count(DISTINCT machine) FROM pin").fetchone()[0])

    def keys(self, machine: str) -> list[HostKey]:
        """Those that it may show; none when it was never seen."""
        with self._lock:
            return self._keys(machine)

    def _keys(self, machine: str) -> list[HostKey]:
        return self._file.execute("SELECT kind, key FROM pin WHERE machine = ?", (machine,)).fetchall()

    def learn(self, machine: str, key: HostKey, *, instead_of: str | None = None) -> list[HostKey]:
        """Pin the key unless the machine has one, and return what it has then: another process may have
        been first. The pin of `instead_of`, another name of the machine, goes."""
        with self._changing():
            known = self._keys(machine)
            if not known:
                self._file.execute("INSERT INTO pin VALUES (?, ?, ?)", (machine, *key))
                for table in ("expected", "refused"):
                    self._file.execute(f"DELETE FROM {table} WHERE machine = ?", (machine,))
                if instead_of is not None:
                    self._file.execute("DELETE FROM pin WHERE machine = ?", (instead_of,))
                known = [key]
        return known

    def expected(self, machine: str) -> bool:
        """True when its next key is to be taken unseen (see `expect`)."""
        with self._lock:
            found = self._file.execute("SELECT 1 FROM expected WHERE machine = ?", (machine,)).fetchone()
        return found is not None

    def expect(self, machines: Iterable[str]) -> None:
        """Forget their keys; the next that each shows is taken, whatever else is known about it."""
        with self._changing():
            for machine in machines:
                for table in ("pin", "refused"):
                    self._file.execute(f"DELETE FROM {table} WHERE machine = ?", (machine,))
                self._file.execute("INSERT OR IGNORE INTO expected VALUES (?)", (machine,))

    def trust(self, keys: Iterable[Refused]) -> None:
        """Take each of these in place of what its machine had."""
        with self._changing():
            for one in keys:
                for table in ("pin", "refused", "expected"):
                    self._file.execute(f"DELETE FROM {table} WHERE machine = ?", (one.machine,))
                self._file.execute("INSERT INTO pin VALUES (?, ?, ?)", (one.machine, one.kind, one.key))

    def refuse(self, machine: str, key: HostKey, address: str, *, changed: bool) -> None:
        """Remember what was refused, for `trust` and for the report. The same key again changes nothing."""
        with self._lock:
            before = self._file.execute("SELECT kind, key FROM refused WHERE machine = ?", (machine,))
            if before.fetchone() == key:
                return
        with self._changing():
            self._file.execute(
                "INSERT OR REPLACE INTO refused VALUES (?, ?, ?, ?, ?, ?, ?)",
                (machine, *key, address, time.time_ns() // 1_000_000, changed, not changed),
            )

    def good(self, machine: str) -> None:
        """It has shown its own key again: what was refused is history, and news if it comes back."""
        with self._lock:
            found = self._file.execute("SELECT 1 FROM refused WHERE machine = ?", (machine,)).fetchone()
        if found is not None:
            with self._changing():
                self._file.execute("DELETE FROM refused WHERE machine = ? AND reported", (machine,))

    def refused(self, *, unreported: bool = False) -> list[Refused]:
        """The newest refused key of each machine; or those that nobody has been told of, see `reported`."""
        with self._lock:
            rows = self._file.execute(
                "SELECT machine, kind, key, address, at, changed FROM refused "
                "WHERE NOT reported OR NOT ? ORDER BY at, machine",
                (unreported,),
            ).fetchall()
        return [
            Refused(machine, kind, key, address, datetime.fromtimestamp(at / 1000, UTC), bool(changed))
            for machine, kind, key, address, at, changed in rows
        ]

    def reported(self, keys: Iterable[Refused]) -> None:
        """Somebody has been told of these."""
        with self._changing():
            self._file.executemany(
                "UPDATE refused SET reported = 1 WHERE machine = ? AND kind = ? AND key = ?",
                [(one.machine, one.kind, one.key) for one in keys],
            )

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            self._file.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._file.execute("ROLLBACK")
                raise
            self._file.execute("COMMIT")
