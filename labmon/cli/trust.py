"""`labmon systems trust`: take the new host keys of machines that were installed anew."""

import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.cli.output import Column, Format, ago, print_rows, say
from labmon.cli.wiring import LARGEST, As, load, open_store
from labmon.errors import UsageError

if TYPE_CHECKING:
    from labmon.collect.pins import Pins
    from labmon.store.inventory import System


@dataclass(frozen=True)
class _Row:
    """A machine that shows another key than the one it is known by."""

    system_id: int | None
    address: str
    name: str | None
    known: str | None
    shown: str | None
    since: datetime | None


COLUMNS = [
    Column("system_id", "ID", right=True),
    Column("address", "Address"),
    Column("name", "Name", gives=True),
    Column("known", "Known by", absent="-"),
    Column("shown", "Shows", absent="-"),
    Column("since", "Since", ago, right=True),
]


def trust(
    ctx: typer.Context,
    machines: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID|HOST]...",
            help="Systems by number, address or name; or a bastion, or an address, that is none.",
            show_default=False,
        ),
    ] = None,
    lab: Annotated[
        int | None, typer.Option(min=1, max=LARGEST, help="The machines of a lab.", show_default=False)
    ] = None,
    dept: Annotated[
        int | None,
        typer.Option(min=1, max=LARGEST, help="The machines of a department.", show_default=False),
    ] = None,
    unseen: Annotated[
        bool, typer.Option("--next", help="Take the next key that they show, whatever it is.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    form: As = Format.table,
) -> None:
    """Take the host keys that machines showed and that were refused, such as after installing them anew.

    Without machines: only show who is refused. With --next, before a lab is installed anew: forget their
    keys, and take the next ones unseen.

    labmon systems trust 17

    labmon systems trust --lab 3 --yes
    """
    from labmon.collect.hostkeys import FILE
    from labmon.collect.pins import Pins
    from labmon.store import inventory

    config = load(ctx)
    named = bool(machines) or lab is not None or dept is not None
    if unseen and not named:
        raise UsageError("systems trust --next: say which machines, by ID, HOST, --lab or --dept")
    with open_store(config) as store, store.transaction() as connection:
        everyone = inventory.systems(connection)
    with closing(Pins(config.state.path / FILE)) as pins:
        if named:
            wanted = _chosen(everyone, machines or [], lab, dept, pins)
        else:
            known = _by_pin(everyone)
            wanted = {one.machine: known.get(one.machine) for one in pins.refused()}
        refused = [one for one in pins.refused() if one.machine in wanted]
        rows = _rows(wanted, pins, unseen=unseen)
        if rows or form is not Format.table:
            print_rows(COLUMNS, rows, form)
        if unseen:
            if wanted and _agreed(f"Forget the keys of these {len(wanted)} and take the next ones?", yes):
                pins.expect(wanted)
                say(f"{len(wanted)} may show any key, once")
        elif not refused:
            say("none of them was refused for its host key" if named else "no machine is refused for its key")
        elif named and _agreed(f"Take what these {len(refused)} show?", yes):
            pins.trust(refused)
            say(f"{len(refused)} new {'keys' if len(refused) > 1 else 'key'} taken")


def _by_pin(systems: "Iterable[System]") -> "dict[str, System | None]":
    from labmon.collect.hostkeys import pin_of

    return {pin_of(one.system_id): one for one in systems}


def _chosen(
    everyone: "Sequence[System]", machines: Sequence[str], lab: int | None, dept: int | None, pins: "Pins"
) -> "dict[str, System | None]":
    """Whom the arguments name: pin -> system, or None for what is no system but has been seen."""
    chosen: dict[str, System | None] = {}
    if lab is not None or dept is not None:
        chosen |= _by_pin(
            one
            for one in everyone
            if (lab is None or one.lab_id == lab) and (dept is None or one.dept_id == dept)
        )
    for name in machines:
        meant = [
            one for one in everyone if name.lower() in (str(one.system_id), one.ip_address, _host(one))
        ] or [one for one in everyone if name.lower() == _host(one).split(".")[0]]
        if len(meant) > 1:
            raise UsageError(f"{len(meant)} machines are called {name}: say which by its ID")
        if meant:
            chosen |= _by_pin(meant)
        elif pins.keys(name.lower()) or name.lower() in (one.machine for one in pins.refused()):
            chosen[name.lower()] = None
        else:
            raise UsageError(f"there is no machine {name}, and nothing was collected from it")
    return chosen


def _host(system: "System") -> str:
    return (system.hostname or "").lower()


def _rows(wanted: "dict[str, System | None]", pins: "Pins", *, unseen: bool) -> list[_Row]:
    from labmon.collect.hostkeys import shown

    refused = {one.machine: one for one in pins.refused()}
    rows = []
    for pin, system in sorted(wanted.items(), key=lambda item: item[1].system_id if item[1] else 0):
        new = refused.get(pin)
        if new is None and not unseen:
            continue
        known = ", ".join(shown(key) for key in pins.keys(pin)) or None
        rows.append(
            _Row(
                system.system_id if system else None,
                (system.ip_address if system else None) or (new.address if new else pin),
                system.hostname if system else None,
                known,
                shown((new.kind, new.key)) if new else None,
                new.at if new else None,
            )
        )
    return rows


def _agreed(question: str, yes: bool) -> bool:
    """Raises UsageError where nobody can be asked."""
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("systems trust: nothing is taken without being asked for; say --yes")
    if typer.confirm(question, err=True):
        return True
    say("nothing has changed")
    return False
