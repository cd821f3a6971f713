"""`labmon report`: the overview and all labs as one HTML file, without script and without outside request."""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from labmon import __version__
from labmon.app.alerts.incidents import amount
from labmon.dashboard import seats
from labmon.readable import ago, span
from labmon.text import finalized

if TYPE_CHECKING:
    from labmon.alerts.incidents import Incident
    from labmon.pg import Connection
    from labmon.store.inventory.states import SystemState

SHEETS = ("tokens", "app", "seatmap", "report")
"""Style sheets that go into the file."""

MOST_ALERTS = 50
WRONG = ("critical", "down", "warning")


@dataclass(frozen=True)
class LabReport:
    """A lab as it is shown."""

    name: str
    dept_id: int | None
    systems: "list[SystemState]"

    @property
    def free(self) -> int:
        return sum(one.state == "up" and one.usage == "free" for one in self.systems)

    @property
    def busy(self) -> int:
        return sum(one.usage == "busy" for one in self.systems)

    @property
    def wrong(self) -> "list[SystemState]":
        """Systems that need somebody, the worst first."""
        return sorted(
            (one for one in self.systems if one.state in WRONG), key=lambda one: WRONG.index(one.state)
        )

    @property
    def counts(self) -> list[tuple[int, seats.Kind]]:
        return seats.counts(self.systems)

    @property
    def seat_map(self) -> Markup:
        said = ", ".join(f"{count} {kind.word.lower()}" for count, kind in self.counts)
        return Markup(seats.seat_map(f"Seats of {self.name}: {said}", self.systems))  # it escapes by itself


def report(connection: "Connection[Any]", now: datetime) -> str:
    """The file's text, as the database is now. Times are those of this machine's zone."""
    from labmon.alerts import incidents
    from labmon.store.inventory import labs
    from labmon.store.inventory.states import STATES, SystemStates

    systems = SystemStates().read(connection, now)
    found = [
        LabReport(lab.name, lab.dept_id, [one for one in systems if one.lab_id == lab.lab_id])
        for lab in sorted(labs.names(connection), key=lambda lab: (lab.dept_id, lab.name))
    ]
    if homeless := [one for one in systems if one.lab_id is None]:
        found.append(LabReport("Systems without a lab", None, homeless))
    states: Counter[str] = Counter(one.state for one in systems)
    alerts = incidents.standing(connection)
    newest = max((one.last_collected for one in systems if one.last_collected), default=None)
    return (
        _environment()
        .get_template("report.html")
        .render(
            now=now.astimezone(),
            newest=newest,
            systems=systems,
            states=[(name, states[name]) for name in STATES if states[name]],
            labs=found,
            alerts=alerts[:MOST_ALERTS],
            more_alerts=max(0, len(alerts) - MOST_ALERTS),
            style=Markup("\n".join((seats.STATIC / f"{name}.css").read_text() for name in SHEETS)),
            version=__version__,
        )
    )


def _environment() -> Environment:
    folder = seats.STATIC.parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        finalize=finalized,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"ago": ago, "span": span, "value": _value, "limit": _limit, "words": words}
    environment.globals["symbol"] = lambda kind: Markup(seats.symbol(kind))
    environment.globals["kind_of"] = seats.kind_of
    return environment


_SHORT = re.compile(r"\b(cpu|ram|gpu|ssh)\b")


def words(name: str) -> str:
    """A rule's name as the pages show it: cpu_high is "CPU high"."""
    text = _SHORT.sub(lambda found: found[0].upper(), name.replace("_", " "))
    return text[:1].upper() + text[1:]


def _limit(one: "Incident") -> str:
    return "–" if one.kind in ("changed", "gone") else amount(one.kind, one.metric, one.threshold)


def _value(one: "Incident") -> str:
    return amount(one.kind, one.metric, one.value if one.value_now is None else one.value_now)
