"""The options that say whose: all, a department, a lab, a system; and who says so."""

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.cli.wiring import LARGEST
from labmon.errors import UsageError

if TYPE_CHECKING:
    from labmon.store.maintenance import Scope

Dept = Annotated[
    int | None, typer.Option("--dept", min=1, max=LARGEST, help="This department.", show_default=False)
]
Lab = Annotated[int | None, typer.Option("--lab", min=1, max=LARGEST, help="This lab.", show_default=False)]
System = Annotated[
    int | None, typer.Option("--system", min=1, max=LARGEST, help="This system.", show_default=False)
]
Comment = Annotated[
    str | None, typer.Option("--comment", "-m", help="Why, for whoever reads it.", show_default=False)
]


def scope(dept: int | None, lab: int | None, system: int | None) -> "Scope":
    """Raises UsageError for more than one."""
    from labmon.store.maintenance import Scope

    if sum(one is not None for one in (dept, lab, system)) > 1:
        raise UsageError("say one of --dept, --lab and --system")
    return Scope(dept, lab, system)


def whoever() -> str:
    """The account that runs labmon, by name where it has one."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a number without an entry in the list of accounts
        return "somebody"
