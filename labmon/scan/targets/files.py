"""Targets kept in files: `@labs.txt` on the command line."""

import os
import stat
from collections.abc import Iterable

from labmon.errors import UsageError
from labmon.scan.targets.target_set import VALID, check
from labmon.text import NotText, decode

LARGEST = 4 * 1024 * 1024
"""Bytes. A larger file is hardly a list of networks."""


def expand(texts: Iterable[str]) -> list[str]:
    """The list with the contents of the file in place of each "@FILE".

    A file has one or more targets a line, separated by spaces or commas; # begins a comment. Raises
    UsageError that names the file, and the line that cannot be read.
    """
    found: list[str] = []
    for text in texts:
        if text.startswith("@"):
            found += _read(text[1:])
        else:
            found.append(text)
    return found


def _read(name: str) -> list[str]:
    if not name:
        raise UsageError("@ needs the name of a file, such as @labs.txt")
    try:
        # A FIFO without a writer would be waited for.
        with open(os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise UsageError(f"{name} is no regular file. Name a file with a list of networks")
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise UsageError(f"{name}: larger than {LARGEST // 1024 // 1024} MiB; is it a list of networks?")
        lines = decode(data).splitlines()
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from error
    except NotText as error:
        raise UsageError(f"{name}: cannot be read as text: {error}") from error
    except ValueError as error:
        raise UsageError(f"{name!r} is no name of a file: {error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        for text in line.partition("#")[0].replace(",", " ").split():
            try:
                check(text)
            except UsageError as error:
                raise UsageError(f"{name}, line {number}: {error}") from None
            found.append(text)
    if not found:
        raise UsageError(f"{name}: no addresses in it: {VALID}")
    return found
