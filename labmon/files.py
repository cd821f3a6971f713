"""Small files of the state folder, replaced whole."""

import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)


def replace(path: Path, content: bytes) -> bool:
    """Write a file by way of a rename, so that nobody ever reads half of it and a crash leaves the old one.

    False, and a line in the log, when the disk or the account does not allow it.
    """
    try:
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
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


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from changing a file in the meantime. The kernel lets go when this one dies.

    Where there can be no lock there can be no file either: that is logged, and nobody is kept off.
    """
    with ExitStack() as stack:
        try:
            path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
            lock = stack.enter_context(open(path.with_name(f"{path.name}.lock"), "w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            logger.warning("%s: not locked: %s", path, error.strerror or error)
        yield
