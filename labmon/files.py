"""Small files of the state folder, replaced whole, and locks between processes."""

import errno
import fcntl
import logging
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

logger = logging.getLogger(__name__)

LOCK_TIMEOUT = 10.0
"""Seconds to wait for a lock that another process has. Ours are held for milliseconds."""

_POLL = 0.02
"""Seconds between two attempts to get a lock. A blocking flock(2) could not be given a deadline, and a signal
would not end it."""

ROOM = 2**20
"""Bytes that a state folder has to have free: the spool reserves as many."""

FULL = (errno.ENOSPC, errno.EDQUOT)

_timed_out: set[Path] = set()
"""Locks that were waited for in vain. This process does not wait for them again, or a command that takes one
for each of many machines would never end."""


def replace(path: Path, content: bytes) -> bool:
    """Write a file by way of a rename, so that half of it is never read and a crash leaves the old one.

    False, and a line in the log, when the disk or the account does not allow it.
    """
    try:
        make_folder(path.parent)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-", delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, path)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        logger.warning("%s: not written: %s", path, error.strerror or error)
        return False
    return True


def make_folder(folder: Path) -> None:
    """Make the state folder and those above it. Others may enter it, but not list it."""
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)


def may_write(folder: Path) -> bool:
    """True when it is there and may be written to, or could be made."""
    nearest = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def trouble(folder: Path) -> str:
    """Why nothing can be kept in the folder, in words; "" when it can, or could after it was made.

    Writes `ROOM` bytes into a file without a name, which is the only way to see a quota, and changes nothing.
    """
    if not may_write(folder):
        return "cannot be written"
    if not folder.is_dir():
        return ""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(ROOM))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return "its disk is full" if error.errno in FULL else f"cannot be written: {error.strerror}"
    return ""


def is_full(folder: Path) -> bool:
    """True when the disk of the folder, or the account's part of it, has no room for our files."""
    return trouble(folder) == "its disk is full"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from changing a file in the meantime, by a lock file beside it.

    Where the lock cannot be had, that is logged, and the block runs without it: what these files hold is
    worth less than the command.
    """
    lock = path.with_name(f"{path.name}.lock")
    try:
        make_folder(path.parent)
        descriptor = open_lock(lock)
    except OSError as error:
        logger.warning("%s: not locked: %s", path, error.strerror or error)
        yield
        return
    try:
        if not acquire(descriptor, lock):
            logger.warning("%s: not locked: another process holds %s", path, lock.name)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def holding(lock: Path, *, shared: bool = False, timeout: float = LOCK_TIMEOUT) -> Iterator[bool]:
    """Hold a lock file for the block. False when another process still has it after `timeout` seconds.

    The kernel frees it when the process ends, however that happens. Raises OSError where the file cannot be
    opened: see `open_lock`.
    """
    descriptor = open_lock(lock)
    try:
        yield acquire(descriptor, lock, shared=shared, timeout=timeout)
    finally:
        os.close(descriptor)


def open_lock(lock: Path) -> int:
    """Open a lock file, made if there is none, and return its descriptor.

    It is for its owner alone (0600), since any process that can open a file can lock it for ever. Raises
    OSError, also for a symbolic link, and for a file that belongs to neither us nor root.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise PermissionError(1, f"{lock.name} is no regular file")
        if found.st_uid not in (0, os.geteuid()):
            raise PermissionError(1, f"{lock.name} belongs to another user")
        if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != 0o600:
            os.fchmod(descriptor, 0o600)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def acquire(descriptor: int, lock: Path, *, shared: bool = False, timeout: float = LOCK_TIMEOUT) -> bool:
    """Lock an open file with flock(2). False when another process still has it after `timeout` seconds.

    A lock that this process has waited for in vain before is only tried once. Raises OSError where the file
    system knows no locks.
    """
    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    deadline = time.monotonic() + (0.0 if lock in _timed_out else timeout)
    while True:
        try:
            fcntl.flock(descriptor, how)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                if timeout:
                    _timed_out.add(lock)
                return False
            time.sleep(_POLL)
        else:
            _timed_out.discard(lock)
            return True


def open_regular(name: str | Path) -> BinaryIO:
    """Open a file that a user named, for reading. Raises OSError, also for what is no regular file: a FIFO
    would be waited for until somebody writes to it, whatever signal comes."""
    file = open(os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "it is no regular file")
