"""No two scans ask the same address at the same time, nor do two runs of collecting: each holds its addresses
for as long as it runs.

A run has a file in a folder of its kind, with its process and its addresses, locked by flock(2). The kernel
releases the lock when the process dies in whatever way, so a file without a lock means nothing.
"""

import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import FileIO
from pathlib import Path

import msgspec

from labmon import files
from labmon.errors import AlreadyRunning, PermissionNeeded
from labmon.messages import utcnow
from labmon.readable import shown
from labmon.scan.targets.address import Span

logger = logging.getLogger(__name__)


class _Holder(msgspec.Struct):
    pid: int
    since: datetime
    spans: list[Span]


@contextmanager
def held(folder: Path, spans: Sequence[Span], running: str) -> Iterator[None]:
    """Hold these addresses (as numbers, ascending, in a folder of the state folder).

    Raises AlreadyRunning when another run has any of them: the text begins with `running` and names its
    process. Raises PermissionNeeded for a folder that cannot be used.
    """
    lock: FileIO | None = None
    ours = folder / f"{os.getpid()}-{secrets.token_hex(4)}.lock"
    try:
        folder.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        with files.holding(folder / "entry") as entered:  # one at a time looks and writes
            if not entered:
                raise AlreadyRunning(
                    f"another process holds {folder / 'entry'}. See which: fuser {folder / 'entry'}"
                )
            _check(folder, spans, running)
            lock = FileIO(files.open_lock(ours), "r+")
            files.acquire(lock.fileno(), ours)
            lock.write(msgspec.json.encode(_Holder(os.getpid(), utcnow(), list(spans))))
    except OSError as error:
        if error.errno in files.FULL:
            # Better two at once than none: the queue may still take what is found.
            logger.warning(
                "%s: the disk is full, so no other run is kept from asking the same addresses", folder
            )
            if lock is not None:
                lock.close()
                lock = None
        else:
            raise PermissionNeeded(
                f"{folder}: {error.strerror}. Choose another place with [state] dir"
            ) from error
    try:
        yield
    finally:
        ours.unlink(missing_ok=True)
        if lock is not None:
            lock.close()


def _check(folder: Path, spans: Sequence[Span], running: str) -> None:
    for path in folder.glob("*.lock"):
        with files.holding(path, shared=True, timeout=0) as is_free:
            if is_free:
                path.unlink(missing_ok=True)  # of a process that died
                continue
            try:
                holder = msgspec.json.decode(path.read_bytes(), type=_Holder)
            except FileNotFoundError:
                continue  # it has just ended
            except (msgspec.MsgspecError, ValueError):
                raise AlreadyRunning(f"{running}, or others: {path} does not say which") from None
            if _overlap(spans, holder.spans):
                raise AlreadyRunning(f"{running}: process {holder.pid}, since {shown(holder.since)}")


def _overlap(ours: Sequence[Span], theirs: Sequence[Span]) -> bool:
    """Both ascending and without overlaps of their own."""
    mine, other = list(ours), list(theirs)
    while mine and other:
        if mine[-1][0] > other[-1][1]:
            mine.pop()
        elif other[-1][0] > mine[-1][1]:
            other.pop()
        else:
            return True
    return False
