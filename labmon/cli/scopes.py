"""The options that say whose: all, a department, a lab, a system; and who says so."""

import getpass
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labmon.cli.wiring import LARGEST
from labmon.errors import UsageError

if TYPE_CHECKING:
    from psycopg import Connection

    from labmon.store.maintenance import Scope

Dept = Annotated[
    int | None, typer.Option("--dept", min=1, max=LARGEST, help="This department.", show_default=False)
]
Lab = Annotated[
    str | None,
    typer.Option("--lab", metavar="LAB", help="This lab, by number or name.", show_default=False),
]
System = Annotated[
    int | None, typer.Option("--system", min=1, max=LARGEST, help="This system.", show_default=False)
]
LONGEST_COMMENT = 253
"""Characters, as of a rule's note: it is one line in a table, and in a message."""


def _one_line(text: str | None) -> str | None:
    if text is None or (0 < len(text) <= LONGEST_COMMENT and not re.search(r"[\x00-\x1f\x7f]", text)):
        return text
    raise UsageError(f"--comment: one line of {LONGEST_COMMENT} characters at most, and not empty")


Comment = Annotated[
    str | None,
    typer.Option(
        "--comment", "-m", help="Why, for whoever reads it.", show_default=False, callback=_one_line
    ),
]


def scope(connection: "Connection[Any]", dept: int | None, lab: str | None, system: int | None) -> "Scope":
    """Whose it is. Raises UsageError for more than one of these, and for what there is not."""
    from labmon.fleet import find_lab
    from labmon.store import departments, inventory, labs
    from labmon.store.maintenance import Scope

    if sum(one is not None for one in (dept, lab, system)) > 1:
        raise UsageError("say one of --dept, --lab and --system")
    if system is not None:
        inventory.check_known(connection, [system])
    if dept is not None and not departments.departments(connection, dept=dept):
        raise UsageError(f"there is no department {dept}. See: labmon departments list")
    return Scope(dept, None if lab is None else find_lab(lab, labs.names(connection)), system)


def whoever() -> str:
    """The account that runs labmon, by name where it has one."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a number without an entry in the list of accounts
        return "somebody"
