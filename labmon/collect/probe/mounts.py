"""The local file systems, of `stat -f` or of `df -P -k`. Pure."""

import re

from labmon.collect.probe.output import INT, Lines, share
from labmon.facts import MAX_LIST, FileSystem
from labmon.message_fields import LINE

_STAT = re.compile(rf"mount ({INT}) ({INT}) ({INT}) (\d{{1,10}}) ({INT}) ({INT}) (/.*)", re.ASCII)
"""Blocks: all, free, free for users; bytes of one; inodes: all, free; where."""
_DF = re.compile(rf"\S.*? ({INT}) +({INT}) +({INT}) +\d+% +(/.*)", re.ASCII)


def read(lines: Lines) -> tuple[FileSystem, ...]:
    """Each once, those that can be read. One of no size is none; its inodes are absent where it has no
    fixed number of them."""
    found: dict[str, FileSystem] = {}
    for line in lines:
        one = _of_stat(line) or _of_df(line)
        if one is not None and len(found) < MAX_LIST:
            found.setdefault(one.mount, one)
    return tuple(found.values())


def _of_stat(line: str) -> FileSystem | None:
    if not (match := _STAT.fullmatch(line)):
        return None
    total, free, available, size, inodes, free_inodes = (int(word) for word in match.groups()[:6])
    files = share(inodes - free_inodes, inodes)
    return _file_system(match[7], total * size, (total - free) * size, available * size, files)


def _of_df(line: str) -> FileSystem | None:
    if not (match := _DF.fullmatch(line)):
        return None
    total, used, available = (int(word) * 1024 for word in match.groups()[:3])
    return _file_system(match[4], total, used, available, None)


def _file_system(
    mount: str, total: int, used: int, available: int, inodes: float | None
) -> FileSystem | None:
    percent = share(used, used + available)
    if percent is None or not 0 < total < 2**63 or used >= 2**63:
        return None
    if len(mount) > LINE or not mount.isprintable():
        return None
    return FileSystem(
        mount=mount,
        total_bytes=total,
        used_bytes=used,
        used_percent=round(min(percent, 100.0), 2),
        inodes_percent=None if inodes is None else round(min(inodes, 100.0), 2),
    )
