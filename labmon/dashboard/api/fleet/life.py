"""The life of a system: taken out, let in, changed, merged, removed. The same as `labmon systems` does."""

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from labmon.app.inventory import life
from labmon.app.inventory.life import Outcome, Who
from labmon.app.inventory.systems import checked_account, checked_hostname, checked_key
from labmon.dashboard.access import Admin, Caller, Operator
from labmon.dashboard.api.document import answers
from labmon.dashboard.api.fleet.systems import missing
from labmon.dashboard.api.parameters import LARGEST, Body, OneLine, SystemId
from labmon.dashboard.context import Uses
from labmon.dashboard.web import Json
from labmon.errors import UsageError
from labmon.pg import Connection
from labmon.store.inventory import labs
from labmon.store.inventory import systems as inventory

router = APIRouter(tags=["systems"])

Number = Annotated[int, Field(ge=1, le=LARGEST)]
Seat = Annotated[int, Field(ge=1, le=1000)]
Text = Annotated[str, Field(max_length=1000)]


class _Comment(Body):
    comment: OneLine | None = None


class _Nothing(Body):
    pass


class _Other(Body):
    other: Number


class _Changes(Body):
    """What is left out stays. Empty text and 0 unset; `lab_id` 0: no lab; `seat` []: no seat."""

    hostname: Text | None = None
    lab_id: Annotated[int, Field(ge=0, le=LARGEST)] | None = None
    seat: Annotated[list[Seat], Field(max_length=2)] | None = None
    mac_shared: bool | None = None
    status: Literal["maintenance", "active"] | None = None


class _Login(Body):
    """How a machine is logged in to; empty text and 0: as configured."""

    ssh_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    ssh_user: Text | None = None
    ssh_key: Text | None = None


def _who(caller: Caller) -> Who:
    return Who(caller.name, caller.address)


def _known(connection: "Connection[object]", system: int) -> None:
    if system not in inventory.known(connection, [system]):
        raise missing(system)


@router.post("/systems/{system}/retire", **answers(Outcome))
def retire(system: SystemId, body: _Comment, caller: Operator, context: Uses) -> Response:
    """Take a system out of service and keep its history: not measured, not counted, no alerts."""
    with context.transaction() as connection:
        _known(connection, system)
        done = life.take_out(connection, [system], "retired", _who(caller), comment=body.comment)
    context.live.touch()
    return Json(done[0])


@router.post("/systems/{system}/ignore", **answers(Outcome))
def ignore(system: SystemId, body: _Comment, caller: Operator, context: Uses) -> Response:
    """Pass over what is no computer of a lab: scans say nothing about it, and lists hide it."""
    with context.transaction() as connection:
        _known(connection, system)
        done = life.take_out(connection, [system], "ignored", _who(caller), comment=body.comment)
    context.live.touch()
    return Json(done[0])


@router.post("/systems/{system}/restore", **answers(Outcome))
def restore(system: SystemId, body: _Nothing, caller: Operator, context: Uses) -> Response:
    """Have a retired or ignored system measured again."""
    with context.transaction() as connection:
        _known(connection, system)
        done = life.restore(connection, [system], _who(caller))
    context.live.touch()
    return Json(done[0])


@router.post("/systems/{system}/accept", **answers(Outcome))
def accept(system: SystemId, body: _Nothing, caller: Operator, context: Uses) -> Response:
    """Let a system out of quarantine."""
    with context.transaction() as connection:
        _known(connection, system)
        done = life.accept(connection, [system], _who(caller))
    context.live.touch()
    return Json(done[0])


@router.post("/systems/{system}/undo", **answers(Outcome))
def undo(system: SystemId, body: _Nothing, caller: Admin, context: Uses) -> Response:
    """Take back the last change that a person made to a system; again, and the one before."""
    with context.transaction() as connection:
        _known(connection, system)
        done = life.undo(connection, [system], _who(caller))
    context.live.touch()
    return Json(done[0])


@router.post("/systems/{system}/merge", **answers(Outcome))
def merge(system: SystemId, body: _Other, caller: Admin, context: Uses) -> Response:
    """Make another system a part of this one: one history, one number."""
    with context.transaction() as connection:
        _known(connection, system)
        done = life.merge(connection, system, body.other, _who(caller))
    context.live.touch()
    return Json(done)


@router.post("/systems/{system}/split", **answers(Outcome))
def split(system: SystemId, body: _Other, caller: Admin, context: Uses) -> Response:
    """Take apart what a merge has joined."""
    with context.transaction() as connection:
        _known(connection, system)
        done = life.split(connection, system, body.other, _who(caller))
    context.live.touch()
    return Json(done)


@router.patch("/systems/{system}", **answers(Outcome))
def change(system: SystemId, body: _Changes, caller: Operator, context: Uses) -> Response:
    """Change what labmon cannot find out by itself: name, lab, seat, shared MAC address, maintenance."""
    if body.seat is not None and len(body.seat) == 1:
        raise UsageError("seat: expected [column, row], or [] for none")
    with context.transaction() as connection:
        _known(connection, system)
        if body.lab_id and body.lab_id not in {one.lab_id for one in labs.names(connection)}:
            raise UsageError(f"there is no lab {body.lab_id}")
        changes = life.Changes(
            hostname=checked_hostname(body.hostname) if body.hostname else body.hostname,
            lab_id=body.lab_id or None,
            no_lab=body.lab_id == 0,
            seat=(body.seat[0], body.seat[1]) if body.seat else None,
            no_seat=body.seat == [],
            shared_mac=body.mac_shared,
            status=body.status,
        )
        done = life.set_(connection, [system], changes, _who(caller))
    context.live.touch()
    return Json(done[0])


@router.patch("/systems/{system}/login", **answers(Outcome))
def change_login(system: SystemId, body: _Login, caller: Admin, context: Uses) -> Response:
    """Change the port, the account and the key by which a machine is measured."""
    with context.transaction() as connection:
        _known(connection, system)
        changes = life.Changes(
            port=body.ssh_port,
            user=checked_account(body.ssh_user) if body.ssh_user else body.ssh_user,
            key=checked_key(body.ssh_key) if body.ssh_key else body.ssh_key,
        )
        done = life.set_(connection, [system], changes, _who(caller))
    context.live.touch()
    return Json(done[0])


@router.delete("/systems/{system}")
def remove(system: SystemId, caller: Admin, context: Uses) -> Response:
    """Delete a system and all that is known of it, for good: {removed}, how many of what."""
    with context.transaction() as connection:
        _known(connection, system)
        gone = life.remove(connection, [system], _who(caller))
    context.live.touch()
    return Json({"removed": gone})
