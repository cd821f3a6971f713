"""The steps that people took with systems. The last that is not undone is what `undo` takes back."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.errors import UniqueViolation
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from labmon.store.inventory import systems
from labmon.store.inventory.statuses import UNWATCHED

SET_BY_PEOPLE = ("maintenance", *UNWATCHED)
"""Statuses that measuring never gives, and never takes away."""

COLUMNS = (
    *("status", "status_error", "hostname", "lab_id", "seat_column", "seat_row"),
    *("mac_shared", "mac_flag", "ssh_port", "ssh_user", "ssh_key"),
)
"""What a step can change, and be undone."""

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """What somebody did with one system."""

    change_id: int
    system_id: int
    at: datetime
    said_by: str
    action: str
    before: Values
    after: Values
    merged_id: int | None
    undone_at: datetime | None


@dataclass(frozen=True, slots=True)
class Undone:
    """A step that was taken back."""

    step: Step
    restored: list[str]  #: what is again as it was: "seat 3,2"
    left: list[str]  #: what was not touched, since it was changed meanwhile, and how


def values(connection: Connection[Any], system_ids: Sequence[int]) -> dict[int, Values]:
    """The columns of these systems as they are now."""
    rows = connection.execute(
        f"SELECT system_id, to_jsonb(one) FROM systems, LATERAL (SELECT {', '.join(COLUMNS)}) AS one "
        "WHERE system_id = ANY(%s)".encode(),
        [list(system_ids)],
    )
    return {row[0]: row[1] for row in rows}


@contextmanager
def step(
    connection: Connection[Any], system_ids: Sequence[int], action: str, who: str
) -> Iterator[list[int]]:
    """Keep what the block changes in these systems, for `undo` and in their history.

    The systems are locked until the transaction ends. Gives a list that holds those that changed, after it.
    """
    systems.hold(connection, system_ids)
    before = values(connection, system_ids)
    changed: list[int] = []
    yield changed
    after = values(connection, system_ids)
    for system in sorted(before):
        differing = {name for name in COLUMNS if before[system][name] != after[system][name]}
        for pair in (("seat_column", "seat_row"), ("status", "status_error")):
            differing |= set(pair) if differing & set(pair) else set()
        if differing:
            changed.append(system)
            old, new = ({name: side[system][name] for name in differing} for side in (before, after))
            add(connection, system, action, who, old, new)
            _keep_history(connection, system, old, new)


def add(
    connection: Connection[Any],
    system: int,
    action: str,
    who: str,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    merged: int | None = None,
) -> None:
    """Keep one step."""
    connection.execute(
        "INSERT INTO system_changes (system_id, said_by, action, before, after, merged_id) "
        "VALUES (%s, %s, %s, %s, %s, %s)",
        [system, who, action, Jsonb(before), Jsonb(after), merged],
    )


def happened(
    connection: Connection[Any],
    system: int,
    change: str,
    new: str | None,
    old: str | None = None,
) -> None:
    """Write into the system's history."""
    connection.execute(
        "INSERT INTO system_history (system_id, at, change, old_value, new_value) "
        "VALUES (%s, clock_timestamp(), %s, %s, %s)",
        [system, change, old, new],
    )


def last(connection: Connection[Any], system: int) -> Step | None:
    """The newest step that is not undone."""
    with connection.cursor(row_factory=class_row(Step)) as cursor:
        cursor.execute(
            "SELECT * FROM system_changes WHERE system_id = %s AND undone_at IS NULL "
            "ORDER BY change_id DESC LIMIT 1",
            [system],
        )
        return cursor.fetchone()


def mark_undone(connection: Connection[Any], one: Step) -> None:
    """Let `last` go on to the step before."""
    connection.execute("UPDATE system_changes SET undone_at = now() WHERE change_id = %s", [one.change_id])


def mark_merge(connection: Connection[Any], system: int, merged: int, *, undone: bool) -> None:
    """The newest merge of these two is undone, or is not any more."""
    connection.execute(
        "UPDATE system_changes SET undone_at = CASE WHEN %s THEN now() END WHERE change_id = ("
        "SELECT max(change_id) FROM system_changes WHERE system_id = %s AND merged_id = %s "
        "AND action = 'merge')",
        [undone, system, merged],
    )


def take_back(connection: Connection[Any], one: Step) -> Undone:
    """Make a step's columns again what they were, except those that are others by now."""
    now = values(connection, [one.system_id])[one.system_id]
    wanted = {name: old for name, old in one.before.items() if _is_as_left(name, one.after[name], now[name])}
    left = words(connection, {name: now[name] for name in one.before if name not in wanted})
    restored, refused = write(connection, one.system_id, wanted)
    mark_undone(connection, one)
    return Undone(one, restored, left + refused)


def _is_as_left(name: str, after: Any, now: Any) -> bool:
    """True when nothing but measuring has changed it since."""
    if name == "status" and after not in SET_BY_PEOPLE:
        return now not in SET_BY_PEOPLE
    return after == now or name == "status_error"


def write(connection: Connection[Any], system: int, wanted: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Give columns these values. Returns which it did, in words, and what could not be, with the reason."""
    wanted = dict(wanted)
    refused: list[str] = []
    if (lab := wanted.get("lab_id")) is not None and not _has_lab(connection, system, lab):
        refused.append(f"lab {lab}, which is gone, or of another department")
        for name in ("lab_id", "seat_column", "seat_row"):
            wanted.pop(name, None)
    seat: Values = {name: wanted.pop(name) for name in ("seat_column", "seat_row") if name in wanted}
    status = wanted.pop("status", None)
    if status is None:
        wanted.pop("status_error", None)
    else:
        lose_taken_seat(connection, system, status, refused)
        connection.execute(
            "UPDATE systems SET status = %(status)s, status_error = %(error)s, "
            "status_since = CASE WHEN %(status)s <> 'discovered' THEN now() END, "
            "status_at = CASE WHEN %(status)s <> 'discovered' THEN now() END WHERE system_id = %(system)s",
            {"status": status, "error": wanted.pop("status_error", None), "system": system},
        )
    _assign(connection, system, wanted)
    try:
        with connection.transaction():  # after the lab, which takes the seat along
            _assign(connection, system, seat)
    except UniqueViolation:
        refused.append(f"{_seat(seat)}, which another system has now")
        seat = {}
    shown = wanted | seat | ({} if status is None else {"status": status})
    return words(connection, shown), refused


def _assign(connection: Connection[Any], system: int, wanted: Values) -> None:
    if wanted:
        settings = ", ".join(f"{name} = %({name})s" for name in wanted)
        connection.execute(
            f"UPDATE systems SET {settings} WHERE system_id = %(system_id)s".encode(),
            wanted | {"system_id": system},
        )


def lose_taken_seat(connection: Connection[Any], system: int, status: str, refused: list[str]) -> None:
    """A system that is watched again stands where another one may be by now: then it has no seat."""
    if status in UNWATCHED:
        return
    row = connection.execute(
        "SELECT this.seat_column, this.seat_row, other.system_id FROM systems AS this "
        "JOIN systems AS other USING (lab_id, seat_column, seat_row) "
        "WHERE this.system_id = %s AND other.system_id <> this.system_id AND other.is_watched",
        [system],
    ).fetchone()
    if row:
        refused.append(f"seat {row[0]},{row[1]}, which system {row[2]} has now")
        connection.execute(
            "UPDATE systems SET seat_column = NULL, seat_row = NULL WHERE system_id = %s", [system]
        )


def _has_lab(connection: Connection[Any], system: int, lab: int) -> bool:
    row = connection.execute(
        "SELECT FROM labs JOIN systems USING (dept_id) WHERE labs.lab_id = %s AND system_id = %s",
        [lab, system],
    ).fetchone()
    return row is not None


def _keep_history(connection: Connection[Any], system: int, old: Values, new: Values) -> None:
    """A line for each thing that changed; the status is kept by a trigger."""
    apart = (("hostname",), ("lab_id",), ("seat_column", "seat_row"), ("mac_shared",))
    for names in (*apart, ("ssh_port",), ("ssh_user",), ("ssh_key",)):
        there = [name for name in names if name in new]
        if there:
            was, now = (words(connection, {name: side[name] for name in there}) for side in (old, new))
            happened(connection, system, "set", now[0], was[0])


def words(connection: Connection[Any], changed: Mapping[str, Any]) -> list[str]:
    """Columns as people name them: "lab A-101", "seat 3,2", "no SSH port of its own"."""
    found: list[str] = []
    if "status" in changed:
        found.append(str(changed["status"]))
    if "hostname" in changed:
        found.append(f"host name {changed['hostname']}" if changed["hostname"] else "no host name")
    if "lab_id" in changed:
        found.append(_lab(connection, changed["lab_id"]))
    if "seat_column" in changed or "seat_row" in changed:
        found.append(_seat(changed))
    if "mac_shared" in changed:
        found.append("MAC shared" if changed["mac_shared"] else "MAC its own")
    for name, called in (("ssh_port", "port"), ("ssh_user", "account"), ("ssh_key", "key")):
        if name in changed:
            found.append(f"{called} {changed[name]}" if changed[name] else f"{called} as configured")
    return found


def _lab(connection: Connection[Any], lab: int | None) -> str:
    if lab is None:
        return "no lab"
    row = connection.execute("SELECT name FROM labs WHERE lab_id = %s", [lab]).fetchone()
    return f"lab {row[0]}" if row else f"lab {lab}"


def _seat(changed: Mapping[str, Any]) -> str:
    column, row = changed.get("seat_column"), changed.get("seat_row")
    return "no seat" if column is None and row is None else f"seat {column or '?'},{row or '?'}"
