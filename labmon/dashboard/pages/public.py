"""Free seats of each lab, for everybody: a page, JSON, and one line of text. Off unless [dashboard] public.

No names of systems, no alerts, no login. What is read is kept for `KEEP` seconds, however many ask; while the
database is away it is shown for `KEEP_AWAY` seconds, with its age.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Request
from markupsafe import Markup
from starlette.responses import PlainTextResponse, Response

from labmon.app.inventory.opening_hours import Opening, opening
from labmon.dashboard import seats
from labmon.dashboard.asking import Asking, NoAnswer
from labmon.dashboard.context import Context, Uses
from labmon.dashboard.pages.pages import render
from labmon.dashboard.security.rate import RateLimiter
from labmon.dashboard.web import Json, Problem
from labmon.errors import StoreError, StoreUnavailable
from labmon.readable import span

if TYPE_CHECKING:
    from labmon.pg import Connection
    from labmon.store.inventory.maintenance import Maintenance
    from labmon.store.inventory.states import SystemState

KEEP = 15.0
"""Seconds."""

KEEP_AWAY = 300.0
"""Seconds."""

PATIENCE = 1.0
"""Seconds until what is known is shown though the database has not answered."""

UNKNOWN = 10.0
"""The same where nothing is known."""

PER_MINUTE = 120
"""Requests from one address: a whole campus may share one."""


@dataclass(frozen=True)
class LabSeats:
    """A lab as everybody may see it."""

    lab: str
    department: str
    seats: int
    free: int  #: 0 while it is closed
    busy: int
    opening: Opening
    seat_map: Markup

    @property
    def changes(self) -> str:
        """When it closes or opens: "Mon 08:00" on its own clock; "" where it never does."""
        return f"{self.opening.changes_at:%a %H:%M}" if self.opening.changes_at else ""

    def as_json(self) -> dict[str, Any]:
        """Its public facts; times in UTC."""
        at = self.opening.changes_at
        return {
            "lab": self.lab,
            "department": self.department,
            "seats": self.seats,
            "free": self.free,
            "busy": self.busy,
            "open": self.opening.is_open,
            "hours": self.opening.hours or None,
            "timezone": self.opening.timezone,
            "changes_at": at.astimezone(UTC) if at else None,
        }

    def as_text(self) -> str:
        """A few words."""
        if self.opening.is_open:
            return f"{self.lab} {self.free} of {self.seats} free"
        return f"{self.lab} closed" + (f" until {self.changes}" if self.changes else "")


@dataclass(frozen=True)
class Reading:
    """The labs at one moment. `age` and `is_old` are of when it is shown."""

    at: datetime
    labs: list[LabSeats]
    read_at: float  #: as `time.monotonic` says

    @property
    def age(self) -> float:
        """Seconds."""
        return time.monotonic() - self.read_at

    @property
    def is_old(self) -> bool:
        """True when the database is away, so that there is nothing newer."""
        return self.age > KEEP

    @property
    def said(self) -> str:
        """How old it is: "40 s", "3 min"."""
        return span(self.age)

    @property
    def headers(self) -> dict[str, str]:
        """For caches, which may keep an old one for a moment only."""
        return {"cache-control": f"public, max-age={2 if self.is_old else KEEP:.0f}"}


class FreeSeats:
    """What was read last, for all who ask. Threads share it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._asking = Asking("free seats", self._read)
        self._last: Reading | None = None

    def get(self) -> Reading:
        """One no older than `KEEP`; while the database is away, than `KEEP_AWAY`. Raises StoreError."""
        last = self._last
        if last and not last.is_old:
            return last
        is_known = last is not None and last.age <= KEEP_AWAY
        try:
            return self._asking.answer(PATIENCE if is_known else UNKNOWN)
        except (StoreError, NoAnswer) as error:
            if last and is_known:
                return last
            raise StoreUnavailable("the database does not answer") from error

    def _read(self) -> Reading:
        now, begun = self._context.now(), time.monotonic()
        with self._context.transaction() as connection:
            self._last = Reading(now, read(connection, now), begun)
        return self._last


def read(connection: "Connection[Any]", now: datetime) -> list[LabSeats]:
    """All labs that have systems, by department and name."""
    from labmon.store.inventory import departments, labs, maintenance
    from labmon.store.inventory.states import SystemStates

    systems = SystemStates().read(connection, now)
    closures = maintenance.maintenances(connection, now)
    names = {
        one.dept_id: one.name or one.code or f"Department {one.dept_id}"
        for one in departments.departments(connection)
    }
    found = []
    for lab in sorted(labs.names(connection), key=lambda one: (one.dept_id, one.name)):
        inside = [one for one in systems if one.lab_id == lab.lab_id]
        hours = opening(_of_lab(closures, lab.lab_id, lab.dept_id), now)
        if inside:
            found.append(_lab(lab.name, names.get(lab.dept_id, ""), inside, hours))
    return found


def _of_lab(closures: "Iterable[Maintenance]", lab_id: int, dept_id: int) -> "list[Maintenance]":
    """Those that close a whole lab."""
    return [
        one
        for one in closures
        if one.mode != "silence"
        and one.system_id is None
        and one.lab_id in (None, lab_id)
        and one.dept_id in (None, dept_id)
    ]


def _lab(name: str, department: str, inside: "list[SystemState]", hours: Opening) -> LabSeats:
    free = sum(one.state == "up" and one.usage == "free" for one in inside) if hours.is_open else 0
    busy = sum(one.usage == "busy" for one in inside)
    said = f"Seats of {name}: {free} free, {busy} busy"
    drawing = Markup(seats.seat_map(said, [_anonymous(one, hours) for one in inside], named=False))
    return LabSeats(name, department, len(inside), free, busy, hours, drawing)


def _anonymous(system: "SystemState", hours: Opening) -> "SystemState":
    """A seat that says free, busy or neither."""
    known = system.state == "up" and system.usage == "free" and hours.is_open or system.usage == "busy"
    return system._replace(
        hostname=None, state="up" if known else "off", usage=system.usage if known else None
    )


router = APIRouter(include_in_schema=False)
_limiter = RateLimiter(PER_MINUTE)


def _seats(request: Request, context: Uses) -> Reading:
    wait = _limiter.wait(request.client.host if request.client else "")
    if wait:
        raise Problem(429, f"too many requests: try again in {wait} s", headers={"retry-after": str(wait)})
    state = request.app.state
    if not hasattr(state, "free_seats"):
        state.free_seats = FreeSeats(context)
    found: FreeSeats = state.free_seats
    return found.get()


Seats = Annotated[Reading, Depends(_seats)]


@router.get("/public")
@router.get("/public/labs")
def page(request: Request, context: Uses, free: Seats) -> Response:
    """How many seats of each lab are free, and which."""
    answer = render(request, context, "public", title="Free seats", free=free, legend=_legend())
    answer.headers.update(free.headers)
    return answer


@router.get("/public/labs.json")
def as_json(free: Seats) -> Response:
    """The same for programs."""
    body = {
        "at": free.at,
        "age_seconds": round(free.age),
        "old": free.is_old,
        "labs": [one.as_json() for one in free.labs],
    }
    return Json(body, headers=free.headers)


@router.get("/public/labs.txt")
def as_text(free: Seats) -> Response:
    """The same in one line."""
    line = "; ".join(one.as_text() for one in free.labs) or "no labs"
    age = f" ({free.said} ago)" if free.is_old else ""
    return PlainTextResponse(f"{line}{age}\n", headers=free.headers)


def _legend() -> list[tuple[Markup, str]]:
    known = seats.kinds()
    words = {"free": ("F", "free"), "busy": ("B", "busy"), "off": ("-", "not available")}
    return [(Markup(seats.symbol(known[kind], letter)), word) for kind, (letter, word) in words.items()]
