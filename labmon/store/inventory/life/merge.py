"""Two numbers of one machine become one, and are taken apart again.

The readings and sums of the system that goes stay as they are, under its number, where nothing shows them;
the other gets copies of what it has not itself. So splitting has everything to go by, however much later, and
what retention drops meanwhile is dropped on both sides. What can only be once (history, incidents, plans) is
moved, and `system_merges.memory` says which.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from labmon.store.inventory.life import copies, steps

ONCE = {"maintenance": "maintenance_id", "alert_incidents": "alert_id", "system_history": "history_id"}
"""Tables whose rows move, and their keys."""

DERIVED = ("alert_silent", "alert_covers", "alert_baselines")
"""What the rules find out again."""

PLACE = (
    *("dept_id", "lab_id", "seat_column", "seat_row", "ip_address", "hostname", "mac_address", "mac_flag"),
    *("status", "status_since", "status_at", "status_error", "ssh_port", "ssh_user", "ssh_key"),
    *("first_seen", "last_seen", "last_collected", "seen_scan", "seen_at", "gone_since"),
)
"""Columns that a merge can change in the system that stays."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge moved."""

    readings: int  #: that the one has now from the other
    dropped: int  #: that both had of the same time
    events: int  #: lines of history
    alerts: int


@dataclass(frozen=True, slots=True)
class Split:
    """What a split could not put back, in words."""

    system_id: int
    merged_id: int
    left: list[str]


def merge(connection: Connection[Any], into: int, other: int) -> Merged:
    """Make `other` a part of `into`, and its number one that nothing has. Both are locked by the caller."""
    before, gone = _row(connection, into), _row(connection, other)
    row = connection.execute(
        "INSERT INTO system_merges (system_id, merged_id, memory) VALUES (%s, %s, '{}') RETURNING merge_id",
        [into, other],
    ).fetchone()
    assert row
    merge_id = row[0]
    readings, dropped = copies.copy(connection, merge_id, into, other)
    moved = _move(connection, into, other)
    memory: Row = {"row": gone, "before": before, "moved": moved} | _set_aside(connection, other)
    connection.execute("DELETE FROM systems WHERE system_id = %s", [other])
    _write(connection, into, _together(before, gone))
    memory["after"] = _row(connection, into)
    connection.execute("UPDATE system_merges SET memory = %s WHERE merge_id = %s", [Jsonb(memory), merge_id])
    return Merged(readings, dropped, len(moved["system_history"]), len(moved["alert_incidents"]))


def split(connection: Connection[Any], into: int, other: int) -> Split:
    """Take `other` out again. What came since the merge stays."""
    row = connection.execute(
        "SELECT memory, merge_id FROM system_merges WHERE system_id = %s AND merged_id = %s", [into, other]
    ).fetchone()
    assert row
    memory, merge_id = row
    copies.take_out(connection, merge_id, into, other)
    now = _row(connection, into)
    back = {name: memory["before"][name] for name in PLACE if now[name] == memory["after"][name]}
    left = _restore(connection, into, other, back, memory)
    for table, ids in memory["moved"].items():
        connection.execute(
            SQL("UPDATE {} SET system_id = %s WHERE {} = ANY(%s)").format(
                Identifier(table), Identifier(ONCE.get(table, "rule_id"))
            ),
            [other, ids],
        )
    for table, rows in memory["aside"].items():
        _insert(connection, table, rows)
    connection.execute("DELETE FROM system_merges WHERE merge_id = %s", [merge_id])
    return Split(into, other, left)


def parts(connection: Connection[Any], system: int) -> list[int]:
    """The numbers that were merged into it, the newest first."""
    rows = connection.execute(
        "SELECT merged_id FROM system_merges WHERE system_id = %s ORDER BY merge_id DESC", [system]
    )
    return [row[0] for row in rows]


def _row(connection: Connection[Any], system: int) -> Row:
    row = connection.execute(
        "SELECT to_jsonb(systems) FROM systems WHERE system_id = %s", [system]
    ).fetchone()
    assert row
    found: Row = row[0]
    return found


def _together(one: Row, other: Row) -> Row:
    """The columns of both as one: where it is by whichever was seen last, what people said by the first."""
    newer, older = sorted((one, other), key=_last_sign, reverse=True)
    where = ("ip_address", "mac_address", "mac_flag", "hostname")
    found = {name: newer[name] if newer[name] is not None else older[name] for name in where}
    found |= {name: newer[name] for name in ("dept_id", "last_seen", "seen_scan", "seen_at", "gone_since")}
    placed = next(
        (side for side in (one, other) if side["lab_id"] and side["dept_id"] == newer["dept_id"]), {}
    )
    found |= {name: placed.get(name) for name in ("lab_id", "seat_column", "seat_row")}
    for name in ("ssh_port", "ssh_user", "ssh_key"):
        found[name] = one[name] if one[name] is not None else other[name]
    found["first_seen"] = min(one["first_seen"], other["first_seen"])
    found["last_collected"] = max(one["last_collected"] or "", other["last_collected"] or "") or None
    told = one
    if not {one["status"], other["status"]} & set(steps.SET_BY_PEOPLE):
        told = max((one, other), key=lambda side: side["status_at"] or "")
    return found | {name: told[name] for name in ("status", "status_since", "status_at", "status_error")}


def _last_sign(row: Row) -> str:
    """When it was seen last. Times in JSON are all of one zone, so they sort as text."""
    return max(row["last_seen"] or "", row["last_collected"] or "")


def _write(connection: Connection[Any], system: int, wanted: Mapping[str, Any]) -> None:
    """Give columns these values, which are JSON's. The seat after the lab: whoever leaves one loses it."""
    seat = {name: wanted[name] for name in ("seat_column", "seat_row") if name in wanted}
    for values in ({name: value for name, value in wanted.items() if name not in seat}, seat):
        if values:
            names = SQL(", ").join(map(Identifier, values))
            connection.execute(
                SQL(
                    "UPDATE systems SET ({names}) = (SELECT {names} "
                    "FROM jsonb_populate_record(NULL::systems, %s)) WHERE system_id = %s"
                ).format(names=names),
                [Jsonb(values), system],
            )


def _move(connection: Connection[Any], into: int, other: int) -> dict[str, list[int]]:
    """Give one's rows to the other; returns their keys."""
    moved = {}
    for table, key in ONCE.items():
        moved[table] = _keys(
            connection,
            SQL("UPDATE {} SET system_id = %(into)s WHERE system_id = %(other)s RETURNING {}").format(
                Identifier(table), Identifier(key)
            ),
            {"into": into, "other": other},
        )
    moved["alert_rules"] = _keys(
        connection,
        SQL(
            "UPDATE alert_rules SET system_id = %(into)s WHERE system_id = %(other)s "
            "AND name NOT IN (SELECT name FROM alert_rules WHERE system_id = %(into)s) RETURNING rule_id"
        ),
        {"into": into, "other": other},
    )
    return moved


def _keys(connection: Connection[Any], statement: Any, known: Mapping[str, int]) -> list[int]:
    return [row[0] for row in connection.execute(statement, known)]


_TABLES: LiteralString = """
SELECT conrelid::regclass::text AS name, attname AS key FROM pg_constraint
JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]
WHERE contype = 'f' AND confrelid = 'systems'::regclass AND cardinality(conkey) = 1 ORDER BY 1
"""


def _set_aside(connection: Connection[Any], system: int) -> dict[str, Row]:
    """What else goes with the system's row, whole, for when it comes back."""
    aside: Row = {}
    with connection.cursor(row_factory=dict_row) as cursor:
        tables = cursor.execute(_TABLES).fetchall()
    for table in tables:
        if table["name"] not in DERIVED:
            row = connection.execute(
                SQL("SELECT jsonb_agg(one) FROM {} AS one WHERE {} = %s").format(
                    Identifier(table["name"]), Identifier(table["key"])
                ),
                [system],
            ).fetchone()
            if row and row[0]:
                aside[table["name"]] = row[0]
    return {"aside": aside}


def _insert(connection: Connection[Any], table: str, rows: list[Row]) -> None:
    """Rows as JSON into a table again."""
    found = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
        "AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
        [table],
    )
    names = SQL(", ").join(Identifier(row[0]) for row in found)
    connection.execute(
        SQL(
            "INSERT INTO {table} ({names}) OVERRIDING SYSTEM VALUE "
            "SELECT {names} FROM jsonb_populate_recordset(NULL::{table}, %s) ON CONFLICT DO NOTHING"
        ).format(table=Identifier(table), names=names),
        [Jsonb(rows)],
    )


def _restore(connection: Connection[Any], into: int, other: int, back: Row, memory: Row) -> list[str]:
    """Put both rows back, without what others have by now. Returns what that is, in words."""
    left: list[str] = []
    row = dict(memory["row"])
    now = _row(connection, into)
    left += [
        f"system {into} keeps {name.replace('_', ' ')} {now[name]}, which is newer than the merge"
        for name in ("ip_address", "hostname")
        if name not in back and memory["before"][name] != now[name]
    ]
    freed: Row = {name: None for name in ("ip_address", "seat_column", "seat_row") if name in back}
    _write(connection, into, freed)  # before either gets what is its own
    for system, wanted in ((into, back), (other, row)):
        _drop_taken(connection, system, wanted, left)
        if system == other:
            _insert(connection, "systems", [wanted])
        else:
            _write(connection, into, wanted)
    return left


def _drop_taken(connection: Connection[Any], system: int, wanted: Row, left: list[str]) -> None:
    """Leave out an address or a seat that another system has, and a lab that is gone."""
    address = wanted.get("ip_address")
    taken = connection.execute(
        "SELECT system_id FROM systems WHERE ip_address = %s::inet AND system_id <> %s", [address, system]
    ).fetchone()
    if taken:
        wanted["ip_address"] = None
        left.append(f"system {system} lost its address {address}: it is that of system {taken[0]} now")
    lab = wanted.get("lab_id")
    there = connection.execute("SELECT FROM labs WHERE lab_id = %s", [lab]).fetchone()
    if lab is not None and there is None:
        wanted |= {"lab_id": None, "seat_column": None, "seat_row": None}
        left.append(f"system {system} is in no lab: lab {lab} is gone")
    lab, column, place = (wanted.get(name) for name in ("lab_id", "seat_column", "seat_row"))
    taken = connection.execute(
        "SELECT system_id FROM systems WHERE (lab_id, seat_column, seat_row) = (%s, %s, %s) "
        "AND is_watched AND system_id <> %s",
        [lab, column, place, system],
    ).fetchone()
    if taken:
        wanted |= {"seat_column": None, "seat_row": None}
        left.append(f"system {system} lost its seat {column},{place}: it is that of system {taken[0]} now")
