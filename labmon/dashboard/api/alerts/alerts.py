"""Alerts, what people say to them, and which notifications were sent."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from labmon.alerts import deliveries as outgoing
from labmon.alerts import incidents
from labmon.app.alerts.deliveries import DeliveryRow
from labmon.dashboard.access import Operator
from labmon.dashboard.api.document import answers, page_of
from labmon.dashboard.api.parameters import (
    LARGEST,
    LARGEST_ALERT,
    After,
    Body,
    Ids,
    Limit,
    OneLine,
    moment,
    page,
    position,
)
from labmon.dashboard.context import Uses
from labmon.dashboard.web import Json, Problem
from labmon.store.inventory import maintenance
from labmon.store.inventory.maintenance import EVERYTHING, Scope

router = APIRouter(tags=["alerts"])

State = Literal["firing", "acknowledged", "resolved", "all"]
Severity = Literal["critical", "warning", "info"]
Chosen = Annotated[int | None, Query(ge=1, le=LARGEST)]


@router.get("/alerts", **answers(page_of(incidents.Incident)))
def alerts(
    context: Uses,
    state: State = "firing",
    severity: Severity | None = None,
    lab: Chosen = None,
    system: Chosen = None,
    rule: Annotated[str | None, Query(max_length=100)] = None,
    q: Annotated[str, Query(max_length=200)] = "",
    alert: Annotated[int | None, Query(ge=1, le=LARGEST_ALERT)] = None,
    after: After = None,
    limit: Limit = 100,
) -> Response:
    """Alerts of this state, the newest first, that hold the text `q`; or `alert` alone, whatever its state.

    `state` firing has those that nobody acknowledged; in each, `state` also says silenced and muted.
    """
    scope = Scope(lab_id=lab, system_id=system) if lab or system else EVERYTHING
    with context.transaction() as connection:
        if alert is not None:
            return Json(
                page(incidents.named(connection, [alert]), limit, lambda one: (one.since, one.alert_id))
            )
        rows = incidents.page(
            *(connection, scope),
            state=state,
            rule=(rule or "").replace("\0", "") or None,
            severity=severity,
            words=q.strip().replace("\0", ""),
            before=position(after),
            limit=limit + 1,
        )
    return Json(page(rows, limit, lambda one: (one.fired_at or one.since, one.alert_id)))


@router.get("/alerts/{alert}")
def alert(alert: int, context: Uses) -> Response:
    """One alert: {incident, steps, covers, deliveries}."""
    with context.transaction() as connection:
        found = incidents.show(connection, alert) if 0 < alert <= LARGEST_ALERT else None
        if found is None:
            raise Problem(404, f"there is no alert {alert}: it may be too old")
        sent = outgoing.recent(connection, alert=alert, limit=200)[::-1]
    incident, steps, covers = found
    return Json(
        {
            "incident": incident,
            "steps": steps,
            "covers": covers,
            "deliveries": [DeliveryRow.of(one) for one in sent],
        }
    )


class _Note(Body):
    ids: Ids
    note: OneLine | None = None


class _Which(Body):
    ids: Ids


class _Silence(_Note):
    until: str | float


@router.post("/alerts/ack")
def acknowledge(body: _Note, caller: Operator, context: Uses) -> Response:
    """Acknowledge alerts: somebody knows of them, and no notification is repeated from then on.

    Answers {ids}: those that were firing.
    """
    with context.transaction() as connection:
        done = incidents.acknowledge(connection, body.ids, caller.name, body.note, context.now())
        for one in done:
            caller.record(connection, "alerts.ack", f"alert {one}", {"note": body.note})
    context.live.touch()
    return Json({"ids": done})


@router.post("/alerts/unack")
def unacknowledge(body: _Which, caller: Operator, context: Uses) -> Response:
    """Take acknowledgements back. Answers {ids}: those that were acknowledged and are still firing."""
    with context.transaction() as connection:
        done = incidents.unacknowledge(connection, body.ids, caller.name, context.now())
        for one in done:
            caller.record(connection, "alerts.unack", f"alert {one}")
    context.live.touch()
    return Json({"ids": done})


@router.post("/alerts/silence", status_code=201)
def silence(body: _Silence, caller: Operator, context: Uses) -> Response:
    """Silence the rules of these alerts until then, where these alerts are: no notifications.

    Answers {silences}: the numbers, as in `GET /maintenance`.
    """
    now = context.now()
    until = moment(str(body.until), "until", now)
    if until <= now:
        raise Problem(422, "until: it must be in the future")
    with context.transaction() as connection:
        found = incidents.named(connection, body.ids)
        if not found:
            raise Problem(404, "there are no such alerts")
        made = []
        for rule, scope in dict.fromkeys((one.alert_type, _scope(one)) for one in found):
            number = maintenance.add(
                *(connection, "silence", scope),
                rule=rule,
                starts_at=now,
                ends_at=until,
                said_by=caller.name,
                comment=body.note,
            )
            detail: dict[str, Any] = {"rule": rule, "until": until.isoformat(), "maintenance_id": number}
            caller.record(connection, "alerts.silence", str(scope), detail)
            made.append(number)
    context.live.touch()
    return Json({"silences": made}, 201)


def _scope(one: incidents.Incident) -> Scope:
    """The narrowest that an alert is about."""
    if one.system_id:
        return Scope(system_id=one.system_id)
    return Scope(lab_id=one.lab_id) if one.lab_id else Scope(dept_id=one.dept_id)


@router.get("/deliveries", **answers(page_of(DeliveryRow)))
def deliveries(
    context: Uses, state: outgoing.State | None = None, after: After = None, limit: Limit = 100
) -> Response:
    """Notifications, the newest first; `error` says why one was not sent."""
    with context.transaction() as connection:
        rows = outgoing.recent(connection, state=state, before=position(after), limit=limit + 1)[::-1]
    found = page(rows, limit, lambda one: (one.created_at, one.delivery_id))
    return Json(found | {"items": [DeliveryRow.of(one) for one in found["items"]]})
