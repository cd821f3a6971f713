"""The alert rules."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import Field
from starlette.responses import Response

from labmon.alerts import rules as stored
from labmon.alerts.rules import Rule
from labmon.app.alerts.rules import RuleRow, add, change
from labmon.config.units import Seconds
from labmon.dashboard.access import Admin
from labmon.dashboard.api.parameters import LARGEST, Body, OneLine
from labmon.dashboard.context import Uses
from labmon.dashboard.web import Json
from labmon.errors import UsageError
from labmon.store.inventory.maintenance import Scope

router = APIRouter(tags=["alerts"])

Number = Annotated[int, Field(ge=1, le=LARGEST)]
Duration = Annotated[str, Field(max_length=30)] | Annotated[float, Field(ge=0, le=1e9)]


class _Change(Body):
    """Keys as a file of rules has them; what is not given stays. Durations: seconds, or such as "15m"."""

    enabled: bool | None = None
    comparison: str | None = None
    threshold: float | None = None
    clear: float | None = None
    hold: Annotated[Duration | None, Field(alias="for")] = None
    clear_for: Duration | None = None
    repeat: Duration | None = None
    severity: str | None = None
    note: OneLine | None = None


class _New(Body):
    """A rule of a metric, for everything or for one department, lab or system."""

    name: Annotated[str, Field(max_length=63)]
    metric: Annotated[str, Field(max_length=100)]
    comparison: str = ">"
    threshold: float
    clear: float | None = None
    hold: Annotated[Duration, Field(alias="for")] = 0
    clear_for: Duration | None = None
    repeat: Duration | None = None
    severity: str = "warning"
    note: OneLine | None = None
    dept_id: Number | None = None
    lab_id: Number | None = None
    system_id: Number | None = None


def row(number: int, rule: Rule) -> dict[str, Any]:
    """As `labmon alerts rules list` shows it, and what it is made of."""
    shown = asdict(RuleRow.of(number, rule))
    return {name: float(value) if isinstance(value, Seconds) else value for name, value in shown.items()} | {
        "metric": rule.metric,
        "comparison": rule.comparison,
        "threshold": rule.threshold,
        "dept_id": rule.dept,
        "lab_id": rule.lab,
        "system_id": rule.system,
    }


@router.get("/rules")
def rules(context: Uses) -> Response:
    """All rules, by name and from wide to narrow."""
    with context.transaction() as connection:
        found = stored.rules(connection)
    return Json([row(number, rule) for number, rule in found.items()])


@router.post("/rules", status_code=201)
def create(body: _New, caller: Admin, context: Uses) -> Response:
    """Add a rule. For a department, a lab or a system it overrides the wider one of its name."""
    scope = Scope(body.dept_id, body.lab_id, body.system_id)
    values = body.model_dump(by_alias=True, exclude_none=True)
    keys = {name: value for name, value in values.items() if not name.endswith("_id")}
    if sum(one is not None for one in (body.dept_id, body.lab_id, body.system_id)) > 1:
        raise UsageError("only one of dept_id, lab_id and system_id can be given")
    rule = stored.convert(keys, f"rule {body.name}")
    with context.transaction() as connection:
        number, rule = add(connection, rule, scope)
        caller.record(connection, "rules.add", f"rule {number} {rule.name}", {"scope": str(scope)} | keys)
    context.live.touch()
    return Json(row(number, rule), 201)


@router.patch("/rules/{which}")
def edit(
    which: Annotated[str, Path(max_length=100)], body: _Change, caller: Admin, context: Uses
) -> Response:
    """Change a rule, found by its number or, where only one has it, its name."""
    values = body.model_dump(by_alias=True, exclude_unset=True)
    with context.transaction() as connection:
        number, before = stored.find(connection, which)
        change(connection, str(number), values)
        rule = stored.rules(connection)[number]
        detail = {"before": _kept(before, values), "after": _kept(rule, values)}
        caller.record(connection, "rules.set", f"rule {number} {rule.name}", detail)
    context.live.touch()
    return Json(row(number, rule))


def _kept(rule: Rule, values: dict[str, Any]) -> dict[str, Any]:
    """What these keys are, durations in seconds."""
    found = {name: getattr(rule, "hold" if name == "for" else name) for name in values}
    return {name: float(value) if isinstance(value, Seconds) else value for name, value in found.items()}
