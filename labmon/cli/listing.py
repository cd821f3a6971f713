"""The options that all lists share: --search, --sort, --columns, --wide, --limit and --failed.

A command gets them by `@listing(COLUMNS)`, and as one argument, `view`, which prints its rows.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, make_dataclass
from datetime import datetime
from ipaddress import ip_address
from itertools import islice
from typing import Annotated, Any

from labmon.cli.options import flag, numeric, option
from labmon.cli.output import Format, print_rows
from labmon.errors import UsageError
from labmon.readable import shown
from labmon.table import Column
from labmon.text import nearest

SEARCHED = 10_000
"""Rows of a history, the newest, that are looked through for what is searched."""

_DATE = re.compile(r"\d{4}-")

_RANKS = {"info": 0, "warning": 1, "critical": 2}
"""Severities in their order."""


@dataclass(frozen=True)
class View:
    """What somebody wants to see of a list."""

    known: Sequence[Column]
    search: tuple[str, ...] = ()
    sort: tuple[tuple[str, bool], ...] = ()  #: fields, and whether descending
    columns: tuple[Column, ...] = ()  #: () are the usual ones
    wide: bool = False
    limit: int | None = None
    failed: bool = False
    newest: bool = False  #: rows are oldest first, and the limit keeps the last ones

    @property
    def narrows(self) -> bool:
        """True when rows may be left out for what they are."""
        return bool(self.search or self.failed)

    @property
    def to_fetch(self) -> int:
        """Rows of a history to read: of the newest ones many, where few of them may be shown."""
        chosen = self.narrows or self.sort
        return max(SEARCHED, self.limit or 0) if chosen else self.limit or SEARCHED

    def chosen(self, rows: Iterable[Any], failed: Callable[[Any], bool] | None = None) -> Iterable[Any]:
        """The rows to show, in their order. Read once, and kept only where they have to be."""
        if self.failed and failed:
            rows = filter(failed, rows)
        if self.search:
            fields = [column.field for column in self.known]
            rows = (row for row in rows if _found(row, fields, self.search))
        for field, descending in reversed(self.sort):
            rows = _sorted(rows, field, descending)
        if self.limit is None:
            return rows
        return list(rows)[-self.limit :] if self.newest and not self.sort else islice(rows, self.limit)

    def print(
        self,
        columns: Sequence[Column],
        rows: Iterable[Any],
        form: Format,
        nothing: str = "",
        *,
        failed: Callable[[Any], bool] | None = None,
        cell: Callable[[Any], Any] | None = None,
    ) -> None:
        """Print the rows that are wanted. `failed` says whether one is for --failed; `cell` makes of a row
        what tables show. `nothing` is said in place of a table without rows."""
        found = self.chosen(rows, failed)
        if form is Format.table:
            if cell:
                found = (_Shown(cell(row), row) for row in found)
            print_rows(self.columns or columns, found, form, nothing, wide=self.wide)
        elif self.columns:
            print_rows(self.columns, _only(self.columns, found), form)
        else:
            print_rows(columns, found, form)


class _Shown:
    """A row as a table shows it; what that lacks is the row's own."""

    __slots__ = ("_row", "_shown")

    def __init__(self, shown: Any, row: Any) -> None:
        self._shown, self._row = shown, row

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shown if hasattr(self._shown, name) else self._row, name)


def _only(columns: Sequence[Column], rows: Iterable[Any]) -> Iterable[Any]:
    """The rows with these fields only."""
    names = list(dict.fromkeys(column.field for column in columns))
    row_of = make_dataclass("Row", names)
    return (row_of(*(getattr(row, name) for name in names)) for row in rows)


def _found(row: Any, fields: Sequence[str], words: Sequence[str]) -> bool:
    """True when each word is in some column: texts contain it, times begin with it, numbers are it."""
    texts, numbers, times = [], set(), []
    about_times = any(_DATE.match(word) for word in words)  # writing thousands of times takes longest
    for field in fields:
        value = getattr(row, field)
        match value:
            case None:
                continue
            case str():
                texts.append(value)
            case datetime():
                times += [shown(value)] if about_times else []
            case list():
                texts += map(str, value)
            case _:
                numbers.add(f"{value:.0f}" if isinstance(value, float) else str(value))
    text = "\n".join(texts).casefold()
    return all(
        word in text or word in numbers or any(one.startswith(word) for one in times) for word in words
    )


def _sorted(rows: Iterable[Any], field: str, descending: bool) -> list[Any]:
    """By one field; rows without a value are last in both directions."""
    rows = list(rows)
    has = [row for row in rows if getattr(row, field) is not None]
    rest = [row for row in rows if getattr(row, field) is None]
    return sorted(has, key=lambda row: natural(getattr(row, field)), reverse=descending) + rest


def natural(value: Any) -> Any:
    """What values of one column are sorted by: addresses by number, pc-9 before pc-10, severities by
    weight."""
    if isinstance(value, list):
        return [natural(str(one)) for one in value]
    if not isinstance(value, str):
        return value
    if value in _RANKS:
        return (0, _RANKS[value], ())
    if ":" in value or value[:1].isdigit() and value.count(".") == 3:
        try:
            address = ip_address(value)
            return (1, address.version, (int(address),))
        except ValueError:
            pass
    parts = re.split(r"(\d+)", value.casefold())
    return (2, 0, tuple((part, int(digits or -1)) for part, digits in _pairs(parts)))


def _pairs(parts: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Texts, each with the digits behind it."""
    return zip(parts[::2], [*parts[1::2], ""], strict=True)


def _plain(name: str) -> str:
    return re.sub(r"[\s/-]+", "_", name.strip().lower())


def column_called(name: str, known: Sequence[Column]) -> Column:
    """A column by its name in JSON or by its heading. Raises UsageError with the nearest name."""
    by_name = {_plain(one.heading): one for one in reversed(known)}
    by_name |= {one.field: one for one in reversed(known)}
    found = by_name.get(_plain(name))
    if found is None:
        raise UsageError(f"there is no column {name.strip()!r}{nearest(_plain(name), by_name)}")
    return found


def _listed(text: str | None) -> list[str]:
    return [one for one in (text or "").split(",") if one.strip()]


def view_of(known: Sequence[Column], values: Mapping[str, Any], *, newest: bool) -> View:
    """The options as they were given. Raises UsageError for a column that there is not."""
    sort = [(one.strip().removeprefix("-"), one.strip().startswith("-")) for one in _listed(values["sort"])]
    return View(
        known,
        tuple((values["search"] or "").casefold().split()),
        tuple((column_called(name, known).field, descending) for name, descending in sort),
        tuple(column_called(name, known) for name in _listed(values["columns"])),
        bool(values["wide"]),
        values["limit"],
        bool(values.get("failed")),
        newest,
    )


def listing(
    columns: Sequence[Column],
    *,
    more: Sequence[Column] = (),
    instead: Mapping[str, Sequence[Column]] | None = None,
    failed: str = "",
    limit: int | None = None,
    newest: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the options of lists; its `view` is a `View`.

    `more`: columns that are shown only when asked for. `instead`: the columns with a flag of the command.
    `failed`: the help of --failed, if it has that. `limit`: how many rows are shown by default, of the
    `newest` if these are last.
    """

    def options(command: Callable[..., Any]) -> Callable[..., Any]:
        added = _parameters([*columns, *more], failed, limit, newest=newest)

        def run(*args: Any, **values: Any) -> Any:
            given = {name: values.pop(name) for name in added}
            known = next((those for name, those in (instead or {}).items() if values.get(name)), None)
            view = view_of(known or [*columns, *more], given, newest=newest)
            return command(*args, view=view, **values)

        signature = inspect.signature(command)
        own = {name: one for name, one in signature.parameters.items() if name != "view"}
        last = {"form": own.pop("form")} if "form" in own else {}
        parameters = [*own.values(), *added.values(), *last.values()]
        run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return options


def _parameters(
    known: Sequence[Column], failed: str, limit: int | None, *, newest: bool
) -> dict[str, inspect.Parameter]:
    """The options, as parameters of a function."""
    few = "Maximum number of rows, newest first." if newest else "Maximum number of rows."
    many = numeric("--limit", "N", few, "-n", show_default=limit is not None)

    def names(incomplete: str) -> list[str]:
        return completed(incomplete, known)

    kinds: dict[str, tuple[Any, Any]] = {
        "search": (
            Annotated[
                str | None, option("--search", "WORDS", "Only rows with all these words in any column.")
            ],
            None,
        ),
        "sort": (
            Annotated[
                str | None,
                option("--sort", "COLUMN", "Sort by this column; -COLUMN: descending.", autocompletion=names),
            ],
            None,
        ),
        "columns": (
            Annotated[
                str | None,
                option("--columns", "COLUMN,...", "Only these columns, in this order.", autocompletion=names),
            ],
            None,
        ),
        "wide": (Annotated[bool, flag("--wide", "All columns and whole names, however wide.")], False),
        "limit": (Annotated[int | None, many], limit),
    }
    if failed:
        kinds["failed"] = (Annotated[bool, flag("--failed", failed)], False)
    return {
        name: inspect.Parameter(
            name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=kind
        )
        for name, (kind, default) in kinds.items()
    }


def completed(incomplete: str, known: Sequence[Column]) -> list[str]:
    """The names of columns that what was typed may become: after a minus, and after a comma as well."""
    before, comma, last = incomplete.rpartition(",")
    sign = "-" if last.startswith("-") else ""
    return [
        f"{before}{comma}{sign}{column.field}"
        for column in known
        if column.field.startswith(last.removeprefix("-").lower())
    ]
