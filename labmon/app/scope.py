"""Departments, labs and systems that a command names, looked up in the inventory."""

import getpass
from typing import TYPE_CHECKING, Any

from labmon.errors import UsageError
from labmon.fleet import no_department

if TYPE_CHECKING:
    from labmon.pg import Connection
    from labmon.store.inventory.maintenance import Scope


def check_dept(connection: "Connection[Any]", dept: int | None) -> None:
    """Raise UsageError, with the nearest number, for a department that there is not; None is all of them."""
    from labmon.store.inventory.departments import departments

    known = [one.dept_id for one in departments(connection)] if dept is not None else []
    if dept is not None and dept not in known:
        raise UsageError(no_department(dept, known))


def lab_id(connection: "Connection[Any]", lab: str | None) -> int | None:
    """The number of a lab named on the command line. Raises UsageError for what there is not."""
    from labmon.fleet import find_lab
    from labmon.store.inventory import labs

    return None if lab is None else find_lab(lab, labs.names(connection))


def scope(connection: "Connection[Any]", dept: int | None, lab: str | None, system: int | None) -> "Scope":
    """What it applies to. Raises UsageError for more than one of these, and for what there is not."""
    from labmon.store.inventory import systems
    from labmon.store.inventory.maintenance import Scope

    if sum(one is not None for one in (dept, lab, system)) > 1:
        raise UsageError("only one of --dept, --lab and --system can be given")
    if system is not None:
        systems.check_known(connection, [system])
    check_dept(connection, dept)
    return Scope(dept, lab_id(connection, lab), system)


def current_user() -> str:
    """The account that runs labmon, by name where it has one."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a number without an entry in the list of accounts
        return "unknown"
