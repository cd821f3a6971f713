"""What `labmon labs` does, and how it lists labs."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labmon.app.alerts.maintenance import described
from labmon.app.alerts.rules import condition
from labmon.app.names import resolve_systems
from labmon.app.scope import current_user
from labmon.errors import UsageError
from labmon.table import Column
from labmon.text import foreign, is_address, is_name

if TYPE_CHECKING:
    from labmon.fleet import Lab
    from labmon.pg import Connection
    from labmon.store.inventory.labs import LabSummary


COLUMNS = [
    Column("lab_id", "ID", right=True),
    Column("name", "Name", gives=True),
    Column("dept_id", "Dept", right=True),
    Column("systems", "Systems", right=True),
    Column("active", "Active", right=True),
]


@dataclass(frozen=True)
class ChangedLab:
    """A lab after `set_lab`, and what that did."""

    lab: "LabSummary"
    made: bool
    added: int
    removed: int


def set_lab(
    connection: "Connection[Any]",
    lab: str,
    dept: int | None,
    *,
    name: str | None,
    add: Sequence[str],
    remove: Sequence[str],
    notice: Callable[[str], None],
) -> ChangedLab:
    """Make a lab or change it, in the caller's transaction. Raises UsageError.

    `add` and `remove` are addresses, ranges and what `resolve_systems` takes; `notice` gets a line for each
    where no system is.
    """
    from labmon.fleet import find_lab, labs_called, no_department
    from labmon.store.inventory import departments as inventory
    from labmon.store.inventory import labs
    from labmon.store.inventory.life import steps

    known = [one for one in labs.names(connection) if dept in (None, one.dept_id)]
    made = not labs_called(lab, known)
    if made:
        if remove and not add:
            find_lab(lab, known)  # raises, with the nearest name: nothing can be taken out of a new lab
        if dept is None:
            raise UsageError(f"there is no lab {lab!r}. To make it, give its department: --dept N")
        there = [one.dept_id for one in inventory.departments(connection)]
        if dept not in there:
            raise UsageError(no_department(dept, there, f"labmon departments set {dept} --name NAME"))
        lab_id = labs.make(connection, dept, _checked_name(lab))
    else:
        lab_id = find_lab(lab, known)
        dept = next(one.dept_id for one in known if one.lab_id == lab_id)
    if name is not None:
        labs.rename(connection, lab_id, _checked_name(name))
    leaving = _systems_at(connection, remove, dept, lambda text: None)
    coming = _systems_at(connection, add, dept, notice)
    with steps.step(connection, [*leaving, *coming], "labs set", current_user()):
        removed = labs.take_out(connection, leaving, lab_id)
        added = labs.place(connection, coming, lab_id)
    if remove and not removed:
        notice(
            f"nothing removed: none of these systems is in lab {lab_id}. "
            f"See: labmon systems list --lab {lab_id}"
        )
    (now,) = [one for one in labs.labs(connection, dept=dept) if one.lab_id == lab_id]
    return ChangedLab(now, made, added, removed)


def find(connection: "Connection[Any]", lab: str, dept: int | None) -> "Lab":
    """A lab by its name or number, in any department unless one is given. Raises UsageError."""
    from labmon.fleet import find_lab
    from labmon.store.inventory import labs

    known = [one for one in labs.names(connection) if dept in (None, one.dept_id)]
    lab_id = find_lab(lab, known)
    return next(one for one in known if one.lab_id == lab_id)


def depending(connection: "Connection[Any]", lab_id: int) -> list[str]:
    """What the database removes together with a lab."""
    from labmon.alerts import rules
    from labmon.messages import utcnow
    from labmon.store.inventory import maintenance

    own = [
        f"rule {number} ({rule.name}, {condition(rule)})"
        for number, rule in rules.rules(connection).items()
        if rule.lab == lab_id
    ]
    planned = maintenance.maintenances(connection, utcnow())
    return own + [described(one) for one in planned if one.lab_id == lab_id]


def _checked_name(text: str) -> str:
    """A lab's name. Raises UsageError for one that lists cannot show."""
    text = text.strip()
    if not is_name(text):
        raise UsageError(f"'{foreign(text)[:60]}' is no name for a lab, such as A-101")
    return text


def _systems_at(
    connection: "Connection[Any]", texts: Sequence[str], dept: int, notice: Callable[[str], None]
) -> list[int]:
    """The IDs of the department's systems at these addresses, and of those named. Raises UsageError."""
    from labmon.scan.targets import address
    from labmon.scan.targets.target_set import parse
    from labmon.store.inventory import labs

    called = [text for text in texts if not _is_range(text)]
    ids = resolve_systems(connection, called)
    for text in texts:
        if text not in called:
            asked = parse([text], max_hosts=2**32, force=True).spans
            spans = [(address.text(first), address.text(last)) for first, last in asked]
            found = labs.within(connection, spans, dept=dept)
            if not found:
                find = f"labmon scan {text} --dept {dept}"
                notice(f"no system of department {dept} is at {text} so far. Find them with: {find}")
            ids += found
    return ids


def _is_range(text: str) -> bool:
    """True for an address, a network or a range such as 10.30.5.10-40: not for a name, a number or a MAC."""
    first = re.split(r"[/-]", text, maxsplit=1)[0]
    return is_address(first) and not text.isdecimal()
