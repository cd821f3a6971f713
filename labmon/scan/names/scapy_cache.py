"""scapy's cache folder, left out where it cannot be used.

On import scapy reads and writes files in ~/.cache/scapy. It expects that it may; where a file or folder there
belongs to another account, or is on a read-only disk, the import fails with PermissionError.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_VARIABLE = "XDG_CACHE_HOME"
_NOWHERE = "/dev/null"  # no folder can be in it, which scapy takes for "no cache"


@contextmanager
def usable_cache() -> Iterator[None]:
    """Import scapy in this block."""
    before = os.environ.get(_VARIABLE)
    if not _is_usable(Path(before) if before else _usual()):
        os.environ[_VARIABLE] = _NOWHERE
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before


def _usual() -> Path:
    return Path(os.path.expanduser("~")) / ".cache"


def _is_usable(home: Path) -> bool:
    """Whether everything in the cache can be read, replaced and removed, or nothing is there yet."""
    folder = home / "scapy"
    try:
        if not os.path.lexists(folder):
            return not os.path.lexists(home) or os.access(home, os.R_OK | os.W_OK | os.X_OK)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            return False
        return all(one.is_file() and os.access(one, os.R_OK | os.W_OK) for one in folder.iterdir())
    except OSError:
        return False
