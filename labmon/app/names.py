"""Which systems words mean: numbers, addresses, host names, MAC addresses, labs, departments, files."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from ipaddress import ip_address
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labmon.errors import UsageError
from labmon.text import NotText, decode, foreign, near, read_text

if TYPE_CHECKING:
    from labmon.config.tables import Config
    from labmon.pg import Connection
    from labmon.store.inventory.names import Named

MOST_SHOWN = 5
"""Candidates in the error about a name that several systems have."""

_MAC = re.compile(r"([0-9a-f]{2}[:-]){5}[0-9a-f]{2}|([0-9a-f]{4}\.){2}[0-9a-f]{4}|[0-9a-f]{12}")


def resolve_systems(connection: "Connection[Any]", words: Iterable[str]) -> list[int]:
    """The numbers of the systems that the words mean, each once, in their order.

    A word is a number, an address, a host name or its first labels (`pc01` of `pc01.lab-a.example`), a MAC
    address, `lab:NAME`, `dept:NAME`, the name of a lab or of a department where no system has it, or `@FILE`
    with such words, one a line; `@-` is standard input. Labs and departments mean their systems that are
    neither retired nor ignored nor in quarantine. Raises UsageError for what means nothing, and for one
    name of several systems, which it lists.
    """
    directory = Directory(connection)
    found = (number for word in _expanded(words) for number in directory.systems(word))
    return list(dict.fromkeys(found))


def system_numbers(config: "Config", words: Sequence[str]) -> list[int]:
    """The same for what works while the database is away: numbers are taken as they are.

    Raises also StoreError.
    """
    from labmon.app.open import open_store

    if all(word.isascii() and word.isdigit() and len(word) < 11 for word in words):
        return [int(word) for word in words]
    with open_store(config) as store, store.transaction() as connection:
        return resolve_systems(connection, words)


def resolve_system(connection: "Connection[Any]", word: str) -> int:
    """The number of the one system that a word means. Raises UsageError as `resolve_systems` does."""
    found = resolve_systems(connection, [word])
    if len(found) != 1:
        raise UsageError(f"{foreign(word)[:100]!r} means {len(found)} systems, and one is needed")
    return found[0]


def past_system(connection: "Connection[Any]", word: str) -> int:
    """The same, but a number is taken as it is: messages of a system that was removed are still kept."""
    if word.isascii() and word.isdigit() and len(word) < 10:
        return int(word)
    return resolve_system(connection, word)


class Directory:
    """Looks words up; the inventory is read when the first of them is more than a number."""

    def __init__(self, connection: "Connection[Any]") -> None:
        self._connection = connection

    @cached_property
    def _all(self) -> "list[Named]":
        from labmon.store.inventory.names import named

        return named(self._connection)

    @cached_property
    def _numbers(self) -> set[int]:
        return {one.system_id for one in self._all}

    def systems(self, word: str) -> list[int]:
        """The numbers of the systems that a word means: one, or all of a lab or department."""
        text = word.strip().casefold()
        if not text:
            raise UsageError("an empty word names no system")
        kind, _, rest = text.partition(":")
        if kind in ("lab", "dept") and rest.strip():
            return self._members(word, self._of_lab(rest) if kind == "lab" else self._of_dept(rest))
        if text.isascii() and text.isdigit() and len(text) != 12:
            text = text.lstrip("0") or "0"
            if len(text) > 40:  # int() refuses thousands of digits
                raise UsageError(f"there is no system {text[:40]}... See: labmon systems list")
            if int(text) not in self._numbers:
                self._check_known(int(text))
            return [int(text)]
        found = self._called(text)
        if watched := [one for one in found if one.watched]:
            found = watched  # its successor may have the name of one that is retired
        if len(found) > 1:
            raise UsageError(f"{foreign(word)[:100]} means {len(found)} systems: {_listed(found)}")
        if found:
            return [found[0].system_id]
        return self._members(word, self._of_lab(text) or self._of_dept(text))

    def _check_known(self, number: int) -> None:
        """Raises UsageError for a number that no system has; of one that was merged it says into which."""
        from labmon.store.inventory.systems import check_known

        check_known(self._connection, [number])

    def _called(self, text: str) -> "list[Named]":
        try:
            address = str(ip_address(text))
        except ValueError:
            pass
        else:
            return [one for one in self._all if one.ip_address == address]
        if _MAC.fullmatch(text):
            digits = re.sub(r"[:.-]", "", text)
            return [one for one in self._all if (one.mac_address or "").replace(":", "") == digits]
        names = [(one, one.hostname.casefold()) for one in self._all if one.hostname]
        return [one for one, name in names if name == text.rstrip(".")] or [
            one for one, name in names if name.startswith(text.rstrip(".") + ".")
        ]

    def _of_lab(self, text: str) -> "list[Named]":
        text = text.strip()
        labs = [one for one in self._all if text == (one.lab or "").casefold()]
        labs = labs or [one for one in self._all if text == str(one.lab_id)]
        if len(numbers := {one.lab_id: one.dept_id for one in labs}) > 1:
            which = ", ".join(f"lab:{number} (department {dept})" for number, dept in numbers.items())
            raise UsageError(f"several labs are called {foreign(text)[:100]}: {which}")
        return labs

    def _of_dept(self, text: str) -> "list[Named]":
        text = text.strip()
        return [
            one
            for one in self._all
            if text in (str(one.dept_id), (one.dept_name or "").casefold(), (one.dept_code or "").casefold())
        ]

    def _members(self, word: str, members: "Sequence[Named]") -> list[int]:
        if not members:
            text = foreign(word.strip())[:100]
            known = {one.hostname.casefold() for one in self._all if one.hostname}
            known |= {one for name in known for one in accumulate(name.split("."), "{}.{}".format)}
            known |= {one.lab.casefold() for one in self._all if one.lab}
            raise UsageError(
                f"no system, lab or department is called {text!r}"
                f"{near(text.casefold(), sorted(known)) or '. See: labmon systems list'}"
            )
        return [one.system_id for one in members if one.watched]


def _listed(found: "Sequence[Named]") -> str:
    shown = [f"{one.system_id} ({one.hostname or one.ip_address})" for one in found[:MOST_SHOWN]]
    return (
        foreign(", ".join(shown)) + (", ..." if len(found) > MOST_SHOWN else "") + ". Name one by its number"
    )


def _expanded(words: Iterable[str]) -> Iterator[str]:
    """The words, and those in files instead of `@FILE`."""
    for word in words:
        if word.startswith("@") and len(word) > 1:
            for line in _read(word[1:]).splitlines():
                if name := line.partition("#")[0].strip():
                    yield name
        else:
            yield word


def _read(name: str) -> str:
    try:
        return decode(sys.stdin.buffer.read()) if name == "-" else read_text(Path(name))
    except NotText as error:
        raise UsageError(f"@{foreign(name)}: not text: {error}") from error
    except OSError as error:
        raise UsageError(f"@{foreign(name)}: cannot be read: {error.strerror}") from error
