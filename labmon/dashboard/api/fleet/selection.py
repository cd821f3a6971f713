"""Which systems, in which order and with which columns: what the list of the page shows, for its CSV file."""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field

from labmon.dashboard.api.parameters import LARGEST
from labmon.dashboard.web import Problem
from labmon.store.inventory.states import COLUMNS, STATES, State, SystemState, Usage

SEARCHED = ("hostname", "ip_address", "lab", "usage")

RANKS = {
    name: rank for rank, name in enumerate(("critical", "down", "warning", "maintenance", "new", "up", "off"))
}
assert set(RANKS) == set(STATES)

_WORD = re.compile(r'-?"[^"]*"?|\S+')


class Selection(BaseModel):
    """The parameters of the address; others are refused."""

    model_config = ConfigDict(extra="forbid")

    q: str = Field(
        "",
        max_length=200,
        description='Words that all must be there; -word must not; =word or "word" exactly.',
    )
    state: State | None = None
    lab: Annotated[int, Field(ge=1, le=LARGEST)] | None = None
    usage: Usage | None = None
    sort: str = Field("", max_length=60, description="A column; with - before it downwards.")
    columns: str = Field("", max_length=1000, description="Comma-separated; empty: all.")


Selected = Annotated[Selection, Query()]


def chosen_columns(wanted: Selection) -> Sequence[str]:
    """The columns in the order asked for. Raises Problem 422."""
    names = wanted.columns.split(",") if wanted.columns else COLUMNS
    for name in names:
        _check("columns", name)
    return names


def select(systems: Iterable[SystemState], wanted: Selection) -> list[SystemState]:
    """Those that match, in the order asked for. Raises Problem 422."""
    found = [
        one
        for one in systems
        if wanted.state in (None, one.state)
        and wanted.lab in (None, one.lab_id)
        and wanted.usage in (None, one.usage)
        and _matches(wanted.q, one)
    ]
    name = wanted.sort.removeprefix("-")
    if not name:
        return found
    _check("sort", name)
    there = [one for one in found if _key(one, name) is not None]
    there.sort(key=lambda one: _key(one, name), reverse=wanted.sort.startswith("-"))
    return there + [one for one in found if _key(one, name) is None]


def _check(parameter: str, name: str) -> None:
    if name not in COLUMNS:
        raise Problem(422, f"{parameter}: expected columns of {', '.join(COLUMNS)}")


def _key(system: SystemState, name: str) -> Any:
    """What a column is sorted by: text so that pc9 is before pc10; None for nothing."""
    value = getattr(system, name)
    if name == "state":
        return RANKS[value]
    if name == "hostname":
        value = _name(system)
    if isinstance(value, str):
        return re.sub(r"\d+", lambda digits: digits[0].zfill(8), value.lower()) or None
    return value


def _name(system: SystemState) -> str:
    return system.hostname or system.ip_address or f"System {system.system_id}"


def _matches(words: str, system: SystemState) -> bool:
    values = [_name(system), *(getattr(system, name) or "" for name in SEARCHED[1:])]
    texts = [value.lower() for value in values]
    return all(_holds(word, texts) for word in _WORD.findall(words.lower()) if word not in ("-", "=", '"'))


def _holds(word: str, texts: list[str]) -> bool:
    if word.startswith("-"):
        return not _holds(word[1:], texts)
    if word.startswith(("=", '"')):
        return word.strip('="') in texts
    return any(word in text for text in texts)
