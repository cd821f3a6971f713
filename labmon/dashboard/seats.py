"""The seat map as a drawing without script, for reports and public pages: what static/seatmap.js draws.

Words, letters and shapes are read from static/seats.js, and the look from static/seatmap.css, so that there
is one of each.
"""

import html
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from math import ceil, sqrt
from pathlib import Path
from typing import TYPE_CHECKING

from labmon.text import foreign

if TYPE_CHECKING:
    from labmon.store.inventory.states import SystemState

STATIC = Path(__file__).parent / "static"

TILE, WIDTH, HEIGHT, MARGIN = 44, 68, 74, 10

ANONYMOUS = 52
"""Width and height of a seat without a name."""

AISLE = 1.6
"""Of several empty columns or rows, this much is left, in seats."""

LONGEST_NAME = 9


@dataclass(frozen=True)
class Kind:
    """A kind of seat: what it is called, and how it is drawn in a square of 44 units."""

    kind: str
    word: str
    letter: str
    shape: str
    mark: str = ""
    drop: int = 0


@cache
def kinds() -> dict[str, Kind]:
    """All of them, the worst first."""
    text = (STATIC / "seats.js").read_text()
    return {one["kind"]: Kind(**one) for one in json.loads(text.partition("export default")[2])}


def kind_of(system: "SystemState") -> Kind:
    """What a seat shows: the state, or the usage of a system that is up."""
    name = (system.usage or "up") if system.state == "up" else system.state
    return kinds().get(name) or kinds()["new"]


def places(systems: "Sequence[SystemState]") -> "list[tuple[SystemState, float, float]]":
    """Each system with its column and row from 0. Those without a seat follow below the plan, by address."""
    at = {one.system_id: (one.seat_column or 0, one.seat_row or 0) for one in systems}
    seated = [one for one in systems if all(at[one.system_id])]
    others = [one for one in systems if not all(at[one.system_id])]
    column_at = _closed_up(at[one.system_id][0] for one in seated)
    row_at = _closed_up(at[one.system_id][1] for one in seated)
    found = [(one, column_at[at[one.system_id][0]], row_at[at[one.system_id][1]]) for one in seated]
    across = int(max(column_at.values(), default=-1) + 1) or _columns_for(len(others))
    below = max(row_at.values()) + AISLE if seated else 0.0
    for number, one in enumerate(sorted(others, key=_by_address)):
        found.append((one, number % across, below + number // across))
    return sorted(found, key=lambda place: (place[2], place[1]))


def _closed_up(used: Iterable[int]) -> dict[int, float]:
    """Positions; those that are empty become an aisle."""
    at, last, found = -1.0, 0, {}
    for number in sorted(set(used)):
        at += AISLE if number - last > 1 else 1
        last = number
        found[number] = at
    return found


def _columns_for(count: int) -> int:
    return max(1, min(count, 12, max(4, ceil(sqrt(count * 1.7)))))


def _by_address(system: "SystemState") -> tuple[int, int, int]:
    if not system.ip_address:
        return 9, 0, system.system_id
    address = ip_address(system.ip_address)
    return address.version, int(address), system.system_id


def names(systems: "Sequence[SystemState]") -> dict[int, str]:
    """Short names by system: without the words that most of the names begin with, and only the end of long
    ones."""
    hosts = {one.system_id: (one.hostname or "").split(".")[0] for one in systems}
    beginnings = Counter(host[: max(host.rfind("-"), host.rfind("_")) + 1] for host in hosts.values())
    shared, count = beginnings.most_common(1)[0] if beginnings else ("", 0)
    if count < 2 or count * 2 <= len(systems):
        shared = ""
    found = {}
    for one in systems:
        name = hosts[one.system_id].removeprefix(shared) or _last_of(one.ip_address) or f"#{one.system_id}"
        found[one.system_id] = f"…{name[1 - LONGEST_NAME :]}" if len(name) > LONGEST_NAME else name
    return found


def _last_of(address: str | None) -> str:
    sign = ":" if ":" in (address or "") else "."
    return sign + address.rsplit(sign, 1)[-1] if address else ""


def counts(systems: "Iterable[SystemState]") -> list[tuple[int, Kind]]:
    """How many there are of each kind, the worst first; without those that there are none of."""
    found = [kind_of(one) for one in systems]
    return [(found.count(kind), kind) for kind in kinds().values() if kind in found]


def seat_map(label: str, systems: "Sequence[SystemState]", *, named: bool = True) -> str:
    """The map as SVG. Text is escaped; names are left out unless `named`. Colours: seatmap.css."""
    placed = places(systems)
    high, wide = (HEIGHT, WIDTH) if named else (ANONYMOUS, ANONYMOUS)
    width = round((max((column for _, column, _ in placed), default=0) + 1) * wide) + 2 * MARGIN
    height = round((max((row for _, _, row in placed), default=0) + 1) * high) + 2 * MARGIN
    scale = 1 if named else 0.7
    short = names(systems) if named else {}
    seats = [
        _seat(
            one, short.get(one.system_id), MARGIN + column * wide + (wide - TILE) / 2, MARGIN + row * high + 4
        )
        for one, column, row in placed
    ]
    seated = [row for one, _, row in placed if one.seat_column and one.seat_row]
    if named and seated and len(seated) < len(placed):
        y = round(MARGIN + (max(seated) + AISLE) * high) - 10
        seats.insert(0, f'<text class="seat-title" x="{MARGIN}" y="{y}">Without a seat</text>')
    size = f'viewBox="0 0 {width} {height}" width="{width * scale:.0f}" height="{height * scale:.0f}"'
    said = f'role="img" aria-label="{_escape(label)}"'
    svg = f'<svg class="seatmap" xmlns="http://www.w3.org/2000/svg" {size} {said}>'
    return "".join((svg, *seats, "</svg>"))


def _seat(system: "SystemState", name: str | None, x: float, y: float) -> str:
    kind = kind_of(system)
    group = f'<g class="seat seat-{kind.kind}" transform="translate({x:.0f} {y:.0f})">'
    if name is None:
        return f"{group}{_shapes(kind, '-' if kind.kind == 'off' else kind.letter)}</g>"
    title = _escape(f"{system.hostname or system.ip_address or name}: {kind.word}")
    label = f'<text class="seat-name" x="22" y="58">{_escape(name)}</text>'
    return f"{group}<title>{title}</title>{_shapes(kind, kind.letter)}{label}</g>"


def symbol(kind: Kind, letter: str | None = None) -> str:
    """One seat for a legend, as SVG."""
    return (
        f'<svg class="seat-symbol seat seat-{kind.kind}" viewBox="0 0 44 44" width="20" height="20" '
        f'aria-hidden="true">{_shapes(kind, letter or kind.letter)}</svg>'
    )


def _shapes(kind: Kind, letter: str) -> str:
    mark = f'<path class="seat-mark" d="{kind.mark}"/>' if kind.mark else ""
    text = f'<text class="seat-letter" x="22" y="{28 + kind.drop}">{letter}</text>'
    return f'<path class="seat-shape" d="{kind.shape}"/>{mark}{text}'


def _escape(text: str) -> str:
    return html.escape(foreign(text))
