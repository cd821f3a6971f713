"""Targets kept in files: `@labs.txt` on the command line."""

from collections.abc import Iterable
from pathlib import Path

from labmon.errors import UsageError
from labmon.scan.targets import VALID, check

LARGEST = 4 * 1024 * 1024
"""Bytes. More is not a list that somebody wrote, but the wrong file."""


def expand(texts: Iterable[str]) -> list[str]:
    """The same list with what the files hold in place of each "@FILE".

    In a file stand one or more targets a line, separated by spaces or commas; # begins a comment. Raises
    UsageError naming the file, and the line that cannot be read.
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
        with Path(name).open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise UsageError(f"{name}: larger than {LARGEST // 1024 // 1024} MiB; is it a list of networks?")
        lines = data.decode("utf-8-sig").splitlines()  # Notepad begins a file with a mark
    except OSError as error:
        raise UsageError(f"{name}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # not UTF-8; or a NUL in the name
        raise UsageError(f"{name!r}: cannot be read as text: {error}") from error
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
