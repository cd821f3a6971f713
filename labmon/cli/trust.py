"""`labmon systems trust`: take the new host keys of machines that were installed anew."""

import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from labmon.cli.output import Column, Format, ago, print_rows, say
from labmon.cli.targets import Choice, open_fleet
from labmon.cli.wiring import LARGEST, As, load
from labmon.errors import UsageError
from labmon.fleet import Fleet, Machine, find_lab, machines_called

if TYPE_CHECKING:
    from labmon.collect.pins import Pins
    from labmon.store.pool import Store

Wanted = dict[str, Machine | None]
"""Pin -> machine; None for what the inventory does not have, such as a bastion."""


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
        str | None,
        typer.Option(metavar="LAB", help="The machines of a lab, by number or name.", show_default=False),
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
    from labmon.collect.hostkeys import FILE, concerns
    from labmon.collect.pins import Pins

    config = load(ctx)
    named = bool(machines) or lab is not None or dept is not None
    if unseen and not named:
        raise UsageError("systems trust --next: say which machines, by ID, HOST, --lab or --dept")
    with (
        open_fleet(config, Choice(everything=True)) as (store, fleet),
        closing(Pins(config.state.path / FILE)) as pins,
    ):
        if named:
            wanted = _chosen(fleet, machines or [], lab, dept, pins)
        else:
            known = _by_pin(fleet.machines, fleet.inventory)
            ours = [one.machine for one in pins.refused() if concerns(one.machine, fleet.inventory)]
            wanted = {pin: known.get(pin) for pin in ours}
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
            _try_again(store, [wanted[one.machine] for one in refused])
            say(f"{len(refused)} new {'keys' if len(refused) > 1 else 'key'} taken")


def _try_again(store: "Store | None", machines: Iterable[Machine | None]) -> None:
    """They are well, as far as anybody knows: the next round does not leave them for later."""
    from labmon.store import inventory, statuses

    ids = [one.system_id for one in machines if one is not None and one.system_id is not None]
    if store is not None and ids:
        with store.transaction() as connection:
            failed = [
                one.system_id
                for one in inventory.systems(connection, ids=ids)
                if one.status not in ("active", "maintenance")
            ]
            statuses.set_status(connection, failed, "active")


def _by_pin(machines: Iterable[Machine], inventory: str) -> Wanted:
    from labmon.collect.hostkeys import pin_of

    return {pin_of(one.system_id, inventory): one for one in machines if one.system_id is not None}


def _chosen(fleet: Fleet, machines: Sequence[str], lab: str | None, dept: int | None, pins: "Pins") -> Wanted:
    """Whom the arguments name. Raises UsageError for what there is not."""
    chosen: Wanted = {}
    everyone = fleet.machines
    if lab is not None or dept is not None:
        lab_id = find_lab(lab, fleet.labs) if lab is not None else None
        inside = [
            one
            for one in everyone
            if (lab is None or one.lab_id == lab_id) and (dept is None or one.dept_id == dept)
        ]
        chosen |= _by_pin(inside, fleet.inventory)
    for name in machines:
        meant = [one for one in everyone if name.lower() in (str(one.system_id), one.address)]
        meant = meant or machines_called(name, everyone)
        if len(meant) > 1:
            raise UsageError(f"{len(meant)} machines are called {name}: say which by its ID")
        if meant:
            chosen |= _by_pin(meant, fleet.inventory)
        elif pins.keys(name.lower()) or name.lower() in (one.machine for one in pins.refused()):
            chosen[name.lower()] = None
        else:
            raise UsageError(f"there is no machine {name}, and nothing was collected from it")
    return chosen


def _rows(wanted: Wanted, pins: "Pins", *, unseen: bool) -> list[_Row]:
    from labmon.collect.hostkeys import shown

    refused = {one.machine: one for one in pins.refused()}
    rows = []
    for pin, machine in sorted(wanted.items(), key=lambda item: item[1] and item[1].system_id or 0):
        new = refused.get(pin)
        if new is None and not unseen:
            continue
        known = ", ".join(shown(key) for key in pins.keys(pin)) or None
        rows.append(
            _Row(
                machine.system_id if machine else None,
                machine.address if machine else new.address if new else pin,
                machine.name if machine else None,
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
