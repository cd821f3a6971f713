"""Maintenance, weekly hours, silences."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.responses import Response

from labmon.app.alerts.maintenance import described, find, plan, planned
from labmon.dashboard.access import Operator
from labmon.dashboard.api.parameters import LARGEST, Body, OneLine, moment
from labmon.dashboard.context import Uses
from labmon.dashboard.web import Json, Problem
from labmon.errors import UsageError
from labmon.store.inventory import labs, maintenance, systems
from labmon.store.inventory.departments import departments
from labmon.store.inventory.maintenance import Maintenance, Scope

router = APIRouter(tags=["maintenance"])

Number = Annotated[int, Field(ge=1, le=LARGEST)]


class _New(Body):
    mode: Literal["skip", "record", "mute"] = "mute"
    dept_id: Number | None = None
    lab_id: Number | None = None
    system_id: Number | None = None
    starts_at: str | float | None = None
    until: str | float | None = None
    weekly: Annotated[str, Field(max_length=500)] | None = None
    timezone: Annotated[str, Field(max_length=100)] | None = None
    comment: OneLine | None = None


def row(one: Maintenance) -> dict[str, Any]:
    """As `labmon maintenance list` shows it, and what it is about in numbers."""
    return asdict(one) | {"scope": str(one.scope)}


@router.get("/maintenance")
def maintenances(context: Uses, over: bool = False) -> Response:
    """Maintenance, weekly hours and silences by number; those that are over only when asked for."""
    with context.transaction() as connection:
        found = maintenance.maintenances(connection, context.now(), over=over)
    return Json([row(one) for one in found])


@router.post("/maintenance", status_code=201)
def add(body: _New, caller: Operator, context: Uses) -> Response:
    """Plan maintenance: once, from `starts_at` (now without it) until `until`, or with `weekly` hours."""
    now = context.now()
    starts = None if body.starts_at is None else moment(str(body.starts_at), "starts_at", now)
    ends = None if body.until is None else moment(str(body.until), "until", now)
    if body.weekly is None and ends is not None and ends <= now:
        raise Problem(422, "until: it must be in the future")
    scope = Scope(body.dept_id, body.lab_id, body.system_id)
    if sum(one is not None for one in (body.dept_id, body.lab_id, body.system_id)) > 1:
        raise UsageError("only one of dept_id, lab_id and system_id can be given")
    with context.transaction() as connection:
        if body.system_id is not None:
            systems.check_known(connection, [body.system_id])
        if body.lab_id is not None and body.lab_id not in {one.lab_id for one in labs.names(connection)}:
            raise UsageError(f"there is no lab {body.lab_id}")
        if body.dept_id is not None and body.dept_id not in {one.dept_id for one in departments(connection)}:
            raise UsageError(f"there is no department {body.dept_id}")
        made = plan(
            *(connection, body.mode, scope, starts or (None if body.weekly else now), ends),
            weekly=body.weekly,
            timezone=body.timezone,
            comment=body.comment,
            said_by=caller.name,
        )
        caller.record(connection, "maintenance.add", str(scope), planned(made))
    context.live.touch()
    return Json(row(made), 201)


@router.delete("/maintenance/{number}")
def remove(number: Annotated[int, Path(ge=1, le=LARGEST)], caller: Operator, context: Uses) -> Response:
    """End a maintenance or a silence for good."""
    with context.transaction() as connection:
        try:
            text = described(find(connection, number))
        except UsageError as error:
            raise Problem(404, str(error)) from error
        maintenance.remove(connection, number)
        caller.record(connection, "maintenance.remove", text)
    context.live.touch()
    return Json({"removed": number})
