"""Systems: the list, one of them, what happened to it."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from msgspec import to_builtins
from starlette.responses import Response

from labmon.alerts import incidents, rules
from labmon.app.alerts.maintenance import plan
from labmon.dashboard.access import Operator
from labmon.dashboard.api.document import answers, page_of
from labmon.dashboard.api.fleet.selection import Selected, chosen_columns, select
from labmon.dashboard.api.parameters import After, Body, Limit, OneLine, SystemId, moment, page, position
from labmon.dashboard.context import Context, Uses
from labmon.dashboard.live.systems import Snapshot
from labmon.dashboard.web import Json, Problem, prepared
from labmon.store.inventory import availability, facts, history
from labmon.store.inventory import systems as inventory
from labmon.store.inventory.maintenance import Scope
from labmon.store.inventory.states import SystemState
from labmon.store.metrics.latest import newest_of
from labmon.store.metrics.rollup import METRICS
from labmon.table import csv_line

router = APIRouter(tags=["systems"])


@router.get("/systems")
def systems(request: Request, context: Uses) -> Response:
    """Every system with its state and newest readings: {sequence, columns, rows}."""
    snapshot: Snapshot = context.live.systems.get()
    return prepared(request, snapshot)


class CsvResponse(Response):
    """A file for a spreadsheet."""

    media_type = "text/csv"


@router.get("/systems.csv", response_class=CsvResponse)
def systems_csv(context: Uses, wanted: Selected) -> Response:
    """The list as CSV, filtered and sorted, which a spreadsheet reads without running anything in it."""
    columns = chosen_columns(wanted)
    found = select(context.live.systems.get().systems, wanted)
    lines = [csv_line(columns), *(csv_line(getattr(one, name) for name in columns) for one in found)]
    headers = {"content-disposition": 'attachment; filename="systems.csv"'}
    return CsvResponse("".join(lines), headers=headers)


def missing(system: int) -> Problem:
    """The answer about a system that there is not."""
    return Problem(404, f"there is no system {system}: it may have been removed")


def state_of(context: Context, system: int) -> SystemState | None:
    """The system in the list of all; None for one that came or went this moment."""
    found: SystemState | None = context.live.systems.get().by_id.get(system)
    return found


@router.get("/systems/{system}")
def system(system: SystemId, context: Uses) -> Response:
    """All that is known of one system."""
    with context.transaction() as connection:
        found = inventory.systems(connection, ids=[system])
        if not found:
            raise missing(system)
        newest = newest_of(connection, system, METRICS)
        limits = [one._asdict() for one in rules.limits(connection, system)]
        firing = incidents.standing(connection, Scope(system_id=system))
        told = facts.facts(connection, ids=[system])
        mounts = facts.mounts(connection, system)
    state = state_of(context, system)
    more = {
        "latest": newest,
        "limits": limits,
        "alerts": firing,
        "state": state.state if state else "new",
        "usage": state.usage if state else None,
        "facts": {"asked_at": told[0].asked_at} | to_builtins(told[0].facts) if told else None,
        "filesystems": mounts,
    }
    return Json(asdict(found[0]) | more)


@router.get("/systems/{system}/events", **answers(page_of(history.Change)))
def events(system: SystemId, context: Uses, after: After = None, limit: Limit = 50) -> Response:
    """What happened to a system, the newest first."""
    with context.transaction() as connection:
        if system not in inventory.known(connection, [system]):
            raise missing(system)
        rows = history.changes(connection, system_id=system, before=position(after), limit=limit + 1)[::-1]
    return Json(page(rows, limit, lambda one: (one.at, one.history_id)))


@router.get("/systems/{system}/availability")
def available(system: SystemId, context: Uses, days: Annotated[int, Query(ge=1, le=30)] = 1) -> Response:
    """When a system was measured: {from, to, step, states, percent}.

    A state is up, partly, down, off or maintenance; null before its first reading.
    `percent`: time measured, of the time since then that was neither off nor in maintenance.
    """
    now = context.now()
    with context.transaction() as connection:
        if system not in inventory.known(connection, [system]):
            raise missing(system)
        found = availability.availability(connection, system, now, timedelta(days=days))
    return Json(
        {
            "from": found.first.timestamp(),
            "to": found.past.timestamp(),
            "step": found.step,
            "states": found.states,
            "percent": found.percent,
        }
    )


class _Until(Body):
    until: str | float
    comment: OneLine | None = None


@router.post("/systems/{system}/maintenance", status_code=201)
def begin_maintenance(system: SystemId, body: _Until, caller: Operator, context: Uses) -> Response:
    """Put a system in maintenance from now on: it is measured, and no rule is evaluated."""
    now = context.now()
    until = moment(str(body.until), "until", now)
    with context.transaction() as connection:
        if system not in inventory.known(connection, [system]):
            raise missing(system)
        made = plan(
            *(connection, "record", Scope(system_id=system), now, until),
            weekly=None,
            timezone=None,
            comment=body.comment,
            said_by=caller.name,
        )
        detail: dict[str, Any] = {"maintenance_id": made.maintenance_id, "until": until.isoformat()}
        caller.record(connection, "maintenance.add", f"system {system}", detail)
    context.live.touch()
    return Json(made, 201)
