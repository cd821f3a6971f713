"""`labmon status` as lines of a screen: what fails first, and cut where it does not fit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from labmon.app.alerts.incidents import LIST, IncidentRow
from labmon.app.status.judge import first_line
from labmon.app.status.report import Report, Trouble
from labmon.colour import BOLD, RED, YELLOW, code_of, painted
from labmon.readable import ago, volume
from labmon.table import Cells, Column, facts
from labmon.text import foreign

FAILING = [
    Column("system_id", "ID", right=True),
    Column("hostname", "Name", gives=True, name=True, host=True),
    Column("status", "Status", colour=True),
    Column("since", "Since", ago, right=True),
    Column("reason", "Reason", gives=True),
    Column("lab", "Lab", extra=True),
    Column("ip_address", "Address", extra=True),
]

ALERTS = [column for column in LIST if column.field not in ("threshold",)]

DEPARTMENTS = [
    Column("dept_id", "Dept", right=True),
    Column("name", "Name", gives=True, name=True),
    Column("systems", "Systems", "{:,}".format, right=True),
    Column("failing", "Failing", "{:,}".format, right=True),
    Column("last_collected", "Measured", lambda at: f"{ago(at)} ago", right=True),
    Column("last_scan_at", "Scanned", lambda at: f"{ago(at)} ago", right=True, absent="never"),
    Column("last_scan_found", "Found", "{:,}".format, right=True, extra=True),
    Column("last_scan_status", "Scan", colour=True, extra=True),
]

LEFT = 10
"""Characters of the names to the left of a line."""

LEAST = 2
"""Rows of failing systems, and of alerts, that any screen shows."""

LABS = 8
"""Labs with failing systems that are named."""

TROUBLE = {"warning": YELLOW, "critical": RED}


class Screen:
    """Draws reports for one width and height; None: as wide as need be, and all rows."""

    def __init__(self, width: int | None, height: int | None, *, colour: bool) -> None:
        self._width, self._height, self._colour = width, height, colour

    def lines(self, report: Report, *, only_failed: bool = False) -> list[str]:
        """What to print, at most `height` lines. `only_failed`: nothing of what is well."""
        lines = self._drawn(report, only_failed, gap=[""])
        if self._height is not None and len(lines) > self._height:
            lines = self._drawn(report, only_failed, gap=[])[: self._height]
        return lines

    def _drawn(self, report: Report, only_failed: bool, *, gap: list[str]) -> list[str]:
        troubles = [line for one in report.troubles if one.part != "alerts" for line in self._trouble(one)]
        head = [*self._first(report), *(gap + troubles if troubles else [])]
        tail: list[str] = []
        if not only_failed:
            tail = [*gap, *self._facts(report)]
            if report.departments:
                tail += [*gap, *self._departments(report)]
        failing = _Block(FAILING, report.failing, "labmon systems list --failed")
        alerts = _Block(ALERTS, [IncidentRow.of(one) for one in report.alerts], "labmon alerts list")
        if self._height is None:
            return [*head, *self._block(failing, None, gap), *self._block(alerts, None, gap), *tail]
        room = self._height - len(head) - len(tail)
        need = alerts.need(len(gap))
        share = max(room // 3, room - failing.need(len(gap)), _Block.LEAST_LINES + len(gap))
        below = self._block(alerts, min(need, share), gap)
        return [*head, *self._block(failing, room - len(below), gap), *below, *tail]

    def _first(self, report: Report) -> list[str]:
        line = first_line(report)
        lines = list(facts([("", line)], 0, self._width))
        word = report.level.name.upper()
        lines[0] = lines[0].replace(word, self._painted(word, f"{BOLD};{code_of(word)}"), 1)
        return lines

    def _trouble(self, one: Trouble) -> Iterator[str]:
        text = f"{one.text}. {one.more}" if one.more else one.text
        yield from self._fact(one.level, text, TROUBLE[one.level])

    def _fact(self, name: str, text: str, code: str) -> Iterator[str]:
        """A line, or where the screen is not limited as many as it takes."""
        if self._height is not None and self._width is not None:
            text = foreign(text)
            room = self._width - LEFT
            text = text if len(text) <= room else f"{text[: room - 3].rstrip(' ,')}..."
        for line in facts([(name, text)], LEFT, self._width):
            yield self._painted(line[:LEFT], code if line[:LEFT].strip() else "") + line[LEFT:]

    def _painted(self, text: str, code: str) -> str:
        return painted(text, code if self._colour else "")

    def _block(self, block: "_Block", room: int | None, gap: list[str]) -> list[str]:
        """A table with as many rows as fit; the last line says how many are left out."""
        rows = block.rows
        if not rows:
            return []
        if room is None:
            return [*gap, *self._table(block.columns, rows)]
        shown = max(LEAST, min(len(rows), room - len(gap) - 1))
        while True:
            lines = [*gap, *self._table(block.columns, rows[:shown])]
            more = len(rows) - shown
            if shown <= LEAST or len(lines) + (more > 0) <= room:
                return [*lines, f"... {more:,} more: {block.see}"] if more > 0 else lines
            shown -= 1

    def _departments(self, report: Report) -> list[str]:
        """Those with failing systems first where not all fit."""
        rows = report.departments
        most = None if self._height is None else max(3, self._height // 5)
        if most is not None and len(rows) > most:
            rows = sorted(rows, key=lambda one: -one.failing)
            more = f"... {len(rows) - most:,} more: labmon metrics summary"
            return [*self._table(DEPARTMENTS, rows[:most]), more]
        return self._table(DEPARTMENTS, rows)

    def _table(self, columns: Sequence[Column], rows: Sequence[Any]) -> list[str]:
        lines = Cells(columns, rows).lines(self._width, colour=self._colour, drop_domain=True)
        return [self._painted(next(lines), BOLD), *lines]

    def _facts(self, report: Report) -> Iterator[str]:
        wrong = {one.part: one.level for one in reversed(report.troubles)}
        for part, name, text in _pairs(report):
            yield from self._fact(name, text, TROUBLE.get(wrong.get(part, ""), ""))


@dataclass(frozen=True)
class _Block:
    """Rows of a table that may be cut."""

    LEAST_LINES = LEAST + 2  #: with the headings, and the line that says how many are left out

    columns: Sequence[Column]
    rows: Sequence[Any]
    see: str  #: the command that shows all

    def need(self, gap: int) -> int:
        """Lines for all of it, if none is wrapped."""
        return len(self.rows) + 1 + gap if self.rows else 0


def _pairs(report: Report) -> Iterator[tuple[str, str, str]]:
    """The parts of which the rules know, their names, and how they are."""
    if report.database_error is None:
        counts = ", ".join(f"{number:,} {status}" for status, number in report.by_status.items())
        yield "systems", "Systems", f"{report.systems:,}" + (f": {counts}" if counts else "")
        yield "systems", "Labs", _labs(report)
    yield "queues", "Queues", _queues(report)
    if workers := report.workers:
        hosts = f" on {', '.join(workers.hosts)}, {workers.per_second:,.0f} messages a second"
        yield "workers", "Workers", f"{workers.alive}{hosts}" if workers.alive else "none"
    if report.spool is not None:
        yield "spool", "Spool", _spool(report.spool)
    versions = report.versions
    schema = f"schema {versions.schema}" if versions.schema else ""
    parts = (f"labmon {versions.labmon}", versions.database, schema, f"Python {versions.python}")
    yield "database", "Versions", ", ".join(filter(None, parts))


def _labs(report: Report) -> str:
    rooms = [one for one in report.labs if one.lab is not None]
    failing = [one for one in rooms if one.failing]
    if not failing:
        return f"{len(rooms)}, none with failing systems" if rooms else "none"
    named = ", ".join(f"{one.lab} {one.failing} of {one.systems}" for one in failing[:LABS])
    more = f", {len(failing) - LABS} more labs" if len(failing) > LABS else ""
    return f"{len(failing)} of {len(rooms)} with failing systems: {named}{more}"


def _queues(report: Report) -> str:
    if report.queue_error:
        return report.queue_error if report.queue_enabled else "not used ([queue] enabled = false)"
    waiting = ", ".join(
        f"{one.queue} {one.ready:,}" + (f" ({one.dead:,} dead letters)" if one.dead else "")
        for one in report.queues
    )
    return f"{report.versions.broker}: {waiting}"


def _spool(spool: Any) -> str:
    if not spool.messages:
        return "empty"
    return f"{spool.messages:,} messages, {volume(spool.bytes)} of {volume(spool.max_bytes)}"
