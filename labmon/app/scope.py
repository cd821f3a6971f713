"""Departments, labs and systems that a command names, looked up in the inventory."""

import getpass
import shlex
from typing import TYPE_CHECKING, Any

from labmon.errors import UsageError
from labmon.text import nearest

if TYPE_CHECKING:
    from labmon.config.tables import Config
    from labmon.pg import Connection
    from labmon.store.inventory.maintenance import Scope

LARGEST = 2**31 - 1
"""Of the numbers of departments."""


def dept_id(connection: "Connection[Any]", dept: str | None, *, to_make: bool = False) -> int | None:
    """The number of a department named by number, name or code; None is all of them.

    Raises UsageError, with the nearest one, for what there is not; `to_make` adds how to make it.
    """
    from labmon.store.inventory.departments import departments

    if dept is None:
        return None
    known = departments(connection)
    text = dept.strip().casefold()
    found = [one for one in known if text == str(one.dept_id)] or [
        one for one in known if text in ((one.name or "").casefold(), (one.code or "").casefold()) and text
    ]
    if len(found) > 1:
        numbers = ", ".join(str(one.dept_id) for one in found)
        raise UsageError(f"several departments are called {dept!r}: name one by its number: {numbers}")
    if not found:
        names = [name for one in known for name in (str(one.dept_id), one.name, one.code) if name]
        number, name = (
            (text, "NAME") if text.isascii() and text.isdigit() else ("N", shlex.quote(dept.strip()))
        )
        step = f" (make it: labmon departments set {number} --name {name})" if to_make else ""
        near = nearest(dept, names) or ". See: labmon departments list"
        raise UsageError(f"there is no department {dept}{step}{near}")
    return found[0].dept_id


def dept_number(config: "Config", dept: str) -> int:
    """The same for what works without a database: a number is taken as it is. Raises also StoreError."""
    from labmon.app.open import open_store

    text = dept.strip()
    if text.isascii() and text.isdigit():
        if not 0 < int(text[:20]) <= LARGEST:
            raise UsageError(f"there is no department {text[:40]}: numbers are 1 to {LARGEST}")
        return int(text[:20])
    with open_store(config) as store, store.transaction() as connection:
        number = dept_id(connection, dept)
    assert number is not None
    return number


def lab_id(connection: "Connection[Any]", lab: str | None) -> int | None:
    """The number of a lab named on the command line. Raises UsageError for what there is not."""
    from labmon.fleet import find_lab
    from labmon.store.inventory import labs

    return None if lab is None else find_lab(lab, labs.names(connection))


def scope(connection: "Connection[Any]", dept: str | None, lab: str | None, system: str | None) -> "Scope":
    """What it applies to. Raises UsageError for more than one of these, and for what there is not."""
    from labmon.app.names import resolve_system
    from labmon.store.inventory.maintenance import Scope

    if sum(one is not None for one in (dept, lab, system)) > 1:
        raise UsageError("only one of --dept, --lab and --system can be given")
    number = None if system is None else resolve_system(connection, system)
    return Scope(dept_id(connection, dept), lab_id(connection, lab), number)


def current_user() -> str:
    """The account that runs labmon, by name where it has one."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a number without an entry in the list of accounts
        return "unknown"
