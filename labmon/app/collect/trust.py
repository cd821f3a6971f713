"""What `labmon systems trust` does: find the machines whose host key changed, and accept the new ones."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from labmon.app.fleet import Selection
from labmon.errors import UsageError
from labmon.fleet import Fleet, Machine, empty_department, find_lab, machines_called
from labmon.readable import ago
from labmon.table import Column

if TYPE_CHECKING:
    from labmon.app.collect.setup import CollectSetup
    from labmon.collect.hostkeys.pins import Pins
    from labmon.store.pool import Store


Wanted = dict[str, Machine | None]
"""Pin -> machine; None for what the inventory does not have, such as a bastion."""


@dataclass(frozen=True)
class KeyRow:
    """A machine that shows another key than the one that is known of it."""

    system_id: int | None
    ip_address: str
    hostname: str | None
    known: str | None
    shown: str | None
    since: datetime | None


COLUMNS = [
    Column("system_id", "ID", right=True),
    Column("ip_address", "Address"),
    Column("hostname", "Name", gives=True, name=True),
    Column("known", "Known by", absent="-"),
    Column("shown", "Shows", absent="-"),
    Column("since", "Since", ago, right=True),
]


class KeyChanges:
    """The machines that an administrator means, and the keys that they show.

    `rows` are those whose key was refused (with `unseen` all of them), `refused` their new keys.
    """

    def __init__(self, store: "Store | None", pins: "Pins", wanted: Wanted, *, unseen: bool) -> None:
        self._store = store
        self._pins = pins
        self.wanted = wanted
        self.refused = [one for one in pins.refused() if one.machine in wanted]
        self.rows = _rows(wanted, pins, unseen=unseen)

    def expect(self) -> None:
        """Forget the keys of all these machines, and accept the next that each shows."""
        self._pins.expect(self.wanted)

    def accept(self) -> None:
        """Accept the keys that were refused; the next round tries these machines again."""
        self._pins.trust(self.refused)
        _try_again(self._store, [self.wanted[one.machine] for one in self.refused])


@contextmanager
def key_changes(
    setup: "CollectSetup",
    machines: Sequence[str],
    lab: str | None,
    dept: int | None,
    *,
    unseen: bool,
    notice: Callable[[str], None],
) -> Iterator[KeyChanges]:
    """The key changes of these machines; without any, all of this inventory. Raises LabmonError."""
    from labmon.collect.hostkeys.pins import Pins
    from labmon.collect.hostkeys.policy import FILE, concerns

    with (
        setup.fleet.open(Selection(everything=True), notice=notice) as (store, fleet),
        closing(Pins(setup.state_dir / FILE)) as pins,
        pins.errors(),
    ):
        if machines or lab is not None or dept is not None:
            wanted = _chosen(fleet, machines, lab, dept, pins)
        else:
            known = _by_pin(fleet.machines, fleet.inventory)
            ours = [one.machine for one in pins.refused() if concerns(one.machine, fleet.inventory)]
            wanted = {pin: known.get(pin) for pin in ours}
        yield KeyChanges(store, pins, wanted, unseen=unseen)


def _try_again(store: "Store | None", machines: Iterable[Machine | None]) -> None:
    """Set their status to active, so that the next round tries them again."""
    from labmon.store.inventory import statuses
    from labmon.store.inventory import systems as inventory

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
    from labmon.collect.hostkeys.policy import pin_of

    return {pin_of(one.system_id, inventory): one for one in machines if one.system_id is not None}


def _chosen(fleet: Fleet, machines: Sequence[str], lab: str | None, dept: int | None, pins: "Pins") -> Wanted:
    """The machines that the arguments name. Raises UsageError for what there is not."""
    chosen: Wanted = {}
    everyone = fleet.machines
    if lab is not None or dept is not None:
        lab_id = find_lab(lab, fleet.labs) if lab is not None else None
        inside = [
            one
            for one in everyone
            if (lab is None or one.lab_id == lab_id) and (dept is None or one.dept_id == dept)
        ]
        if dept is not None and dept not in (one.dept_id for one in everyone):
            raise UsageError(empty_department(dept, everyone))
        chosen |= _by_pin(inside, fleet.inventory)
    for name in machines:
        meant = [one for one in everyone if name.lower() in (str(one.system_id), one.address)]
        meant = meant or machines_called(name, everyone)
        if len(meant) > 1:
            raise UsageError(f"{len(meant)} machines are called {name}: name one by its ID")
        if meant:
            chosen |= _by_pin(meant, fleet.inventory)
        elif pins.keys(name.lower()) or name.lower() in (one.machine for one in pins.refused()):
            chosen[name.lower()] = None
        else:
            raise UsageError(f"there is no machine {name}, and nothing was collected from it")
    return chosen


def _rows(wanted: Wanted, pins: "Pins", *, unseen: bool) -> list[KeyRow]:
    from labmon.collect.hostkeys.policy import shown

    refused = {one.machine: one for one in pins.refused()}
    rows = []
    for pin, machine in sorted(wanted.items(), key=lambda item: item[1] and item[1].system_id or 0):
        new = refused.get(pin)
        if new is None and not unseen:
            continue
        known = ", ".join(shown(key) for key in pins.keys(pin)) or None
        rows.append(
            KeyRow(
                machine.system_id if machine else None,
                machine.address if machine else new.address if new else pin,
                machine.name if machine else None,
                known,
                shown((new.kind, new.key)) if new else None,
                new.at if new else None,
            )
        )
    return rows
