"""The machines as the collector has to know them: read from the store, kept on disk for when it is away."""

import logging
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path

import msgspec
from msgspec import Struct

from labmon import files
from labmon.errors import UsageError
from labmon.text import near, nearest

logger = logging.getLogger(__name__)


class Machine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a machine is, and in which lab. `system_id` is None for an address not in the inventory."""

    address: str
    system_id: int | None = None
    dept_id: int | None = None
    lab_id: int | None = None
    name: str | None = None
    port: int | None = None  #: of SSH, where it is not the usual one
    user: str | None = None  #: the account there, the same
    key: str | None = None  #: the file of the private key, the same
    seen_at: datetime | None = None
    """The newest sign of life that the store has: a scan, a reading, a status set by hand."""
    rests: bool = False
    """It was in a maintenance that leaves it alone when the store was read."""

    @property
    def neighbourhood(self) -> str:
        """What is switched on and off together: its lab; without one, its /24 (IPv6: /64)."""
        if self.lab_id is not None:
            return f"lab {self.lab_id}"
        return str(ip_network(f"{self.address}/{64 if ':' in self.address else 24}", strict=False))


class Lab(Struct, frozen=True):
    """A room of machines, and its name."""

    lab_id: int
    dept_id: int
    name: str


class _File(Struct, frozen=True):
    """What is kept of a fleet. Its time is that of the file: most of the time nothing else changes."""

    machines: list[Machine]
    labs: list[Lab]
    inventory: str
    database: str = ""


class Fleet(Struct, frozen=True):
    """All machines that have an address, and the labs, as they were at `read_at`."""

    read_at: datetime
    machines: Sequence[Machine] = ()
    labs: Sequence[Lab] = ()
    inventory: str = ""
    """The database whose numbers the machines have: a UUID, which is restored with the data."""
    database: str = ""
    """Where that database is, in words; only known of a copy on disk, and of what was just read."""

    @classmethod
    def load(cls, path: Path) -> "Fleet | None":
        """Read the last one that was saved. None when there is none that can be read."""
        try:
            kept = msgspec.json.decode(path.read_bytes(), type=_File)
            read_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
            return cls(read_at, kept.machines, kept.labs, kept.inventory, kept.database)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            logger.warning("%s: cannot be read: %s", path, error)
            return None

    def save(self, path: Path) -> None:
        """Keep it, whole or not at all. A disk that takes nothing is only logged: this is for bad days."""
        # Signs of life come with every round, and a machine read from here has to be tried anyway.
        kept = [msgspec.structs.replace(one, seen_at=None) for one in self.machines]
        content = msgspec.json.encode(_File(kept, list(self.labs), self.inventory, self.database))
        try:
            if path.read_bytes() == content:
                os.utime(path)
                return
        except OSError:
            pass
        files.replace(path, content)


def labs_called(text: str, labs: Sequence[Lab]) -> list[Lab]:
    """The labs that `text` means: a number, or a name in whatever case."""
    text = text.strip().casefold()
    return [one for one in labs if text == str(one.lab_id)] or [
        one for one in labs if text == one.name.casefold()
    ]


def machines_called(text: str, machines: Sequence[Machine]) -> list[Machine]:
    """The machines of this name, in whatever case; else those whose name begins with these labels."""
    text = text.lower().rstrip(".")
    names = [(one, one.name.lower()) for one in machines if one.name]
    return [one for one, name in names if name == text] or [
        one for one, name in names if name.startswith(f"{text}.")
    ]


def no_department(dept: int, known: Iterable[int], step: str = "") -> str:
    """The error about a department that there is not: how to make it, if `step` says, and the nearest one."""
    near = nearest(str(dept), map(str, sorted(set(known)))) or ". See: labmon departments list"
    return f"there is no department {dept}{f' (make it: {step})' if step else ''}{near}"


def empty_department(dept: int, machines: Iterable[Machine]) -> str:
    """The error about a department without machines: the next step, and the nearest that has some."""
    known = sorted({one.dept_id for one in machines if one.dept_id is not None} - {dept})
    near = nearest(str(dept), map(str, known))
    find = f"labmon scan 10.30.5.0/24 --dept {dept}"
    return f"department {dept} has no machine with an address (find some: {find}){near}"


def find_lab(text: str, labs: Sequence[Lab]) -> int:
    """The number of the one lab of that name or number. Raises UsageError when there is none, or several."""
    found = labs_called(text, labs)
    if len(found) > 1:
        numbers = ", ".join(f"{one.lab_id} (department {one.dept_id})" for one in found)
        raise UsageError(f"several labs are called {text!r}: name one by its number: {numbers}")
    if not found:
        raise UsageError(
            f"there is no lab {text!r}{near(text, [one.name for one in labs]) or '. See: labmon labs list'}"
        )
    return found[0].lab_id
