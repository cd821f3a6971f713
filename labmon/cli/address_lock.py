"""Two scans never ask the same address at the same time, nor do two runs of collecting: each holds its
addresses for as long as it runs.

Whoever runs has a file in a folder of its kind that says who it is and what it asks, locked by flock(2). The
kernel lets go when the process dies in whatever way, so a file that nobody holds means nothing.
"""

import errno
import fcntl
import logging
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import FileIO
from pathlib import Path

import msgspec

from labmon.errors import AlreadyRunning, PermissionNeeded
from labmon.messages import utcnow
from labmon.scan.address import Span

logger = logging.getLogger(__name__)


class _Holder(msgspec.Struct):
    pid: int
    since: datetime
    spans: list[Span]


@contextmanager
def held(folder: Path, spans: Sequence[Span], running: str) -> Iterator[None]:
    """Hold these addresses (as numbers, ascending, in a folder of the state folder).

    Raises AlreadyRunning when somebody else has any of them; which says `running`, by whom, and
    since when.
    """
    lock: FileIO | None = None
    ours = folder / f"{os.getpid()}-{secrets.token_hex(4)}.lock"
    try:
        folder.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        with open(folder / "entry", "w") as entry:
            fcntl.flock(entry, fcntl.LOCK_EX)  # for a moment: one looks and writes at a time
            _check(folder, spans, running)
            lock = open(ours, "wb", buffering=0)
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write(msgspec.json.encode(_Holder(os.getpid(), utcnow(), list(spans))))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            # Better two at once than none: the queue may still take what is found.
            logger.warning("%s: the disk is full, so nobody is kept from asking the same addresses", folder)
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
        with open(path, "rb") as other:
            try:
                fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = msgspec.json.decode(other.read(), type=_Holder)
                if _overlap(spans, holder.spans):
                    raise AlreadyRunning(
                        f"{running}: process {holder.pid}, since "
                        f"{holder.since.astimezone():%Y-%m-%d %H:%M:%S}"
                    ) from None
            else:
                path.unlink(missing_ok=True)  # of one that died


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
