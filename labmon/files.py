"""Small files of the state folder, replaced whole."""

import logging
import os
import tempfile
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
