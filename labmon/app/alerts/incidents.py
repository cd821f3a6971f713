"""Incidents as `labmon alerts` lists them: values in their units, states in words."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from labmon.alerts.units import amount as amount
from labmon.readable import ago, shown
from labmon.table import Column

if TYPE_CHECKING:
    from labmon.alerts.incidents import Incident
    from labmon.pg import Connection


@dataclass(frozen=True)
class IncidentRow:
    """An incident in a table."""

    alert_id: int
    severity: str
    alert_type: str
    subject: str
    value: str | None  #: None for a fact, such as a host key that changed
    threshold: str | None
    since: datetime
    resolved_at: datetime | None
    state: str
    mount: str | None

    @classmethod
    def of(cls, one: "Incident") -> "IncidentRow":
        value = one.value if one.value_now is None else one.value_now
        about = one.subject + (f" (+{one.covered})" if one.covered else "")
        return cls(
            one.alert_id,
            one.severity,
            one.alert_type,
            about,
            _amount(one, value),
            _amount(one, one.threshold),
            one.fired_at or one.since,
            one.resolved_at,
            _state(one),
            one.mount,
        )


def _state(one: "Incident") -> str:
    match one.state:
        case "acknowledged":
            return f"acknowledged by {one.acknowledged_by}"
        case "silenced" if one.silenced_until:
            return f"silenced until {one.silenced_until.astimezone():%m-%d %H:%M}"
        case "muted":
            return f"muted: {one.muted}"
    return one.state


def _amount(one: "Incident", value: float | None) -> str | None:
    from labmon.messages import KEY_CHANGED

    return None if value is None or one.alert_type == KEY_CHANGED else amount(one.kind, one.metric, value)


LIST = [
    Column("alert_id", "ID", right=True),
    Column("severity", "Severity", colour=True),
    Column("alert_type", "Alert", gives=True),
    Column("subject", "About", gives=True, name=True, host=True),
    Column("mount", "Mount", gives=True),
    Column("value", "Value", right=True),
    Column("threshold", "Limit", right=True),
    Column("since", "For", ago, right=True),
    Column("state", "State", gives=True, colour=True),
]

HISTORY = [
    Column("alert_id", "ID", right=True),
    Column("since", "Fired", shown),
    Column("resolved_at", "Over", shown),
    *(column for column in LIST if column.field in ("severity", "alert_type", "subject")),
]

MORE = [
    Column("state", "State", gives=True, colour=True),
    Column("reason", "Why over", gives=True),
    Column("metric", "Metric"),
    Column("system_id", "System", right=True),
    Column("dept_id", "Dept", right=True),
    Column("lab_id", "Lab", right=True),
    Column("acknowledged_by", "Acknowledged by"),
    Column("comment", "Comment", gives=True),
    Column("note", "What to do", gives=True),
]


def needs_somebody(one: "Incident") -> bool:
    """True for an alert that is firing, and neither acknowledged nor muted nor silenced."""
    return one.state == "firing" and not (one.acknowledged_by or one.muted or one.silenced_until)


STEPS = [
    Column("at", "When", shown),
    Column("event", "What"),
    Column("said_by", "By"),
    Column("comment", "Comment", gives=True),
]


def facts(one: "Incident") -> list[tuple[str, str | None]]:
    """All about one incident: names and values; None for what it does not have."""
    about = f"{one.subject} (system {one.system_id})" if one.system_id else one.subject
    seen = f"by {one.acknowledged_by}" + (f": {one.comment}" if one.comment else "")

    return [
        ("alert", f"{one.alert_type}, {one.severity}"),
        ("about", about),
        ("mount", one.mount),
        ("state", _state(one) + (f" ({one.reason})" if one.reason else "")),
        ("metric", one.metric),
        ("value", _amount(one, one.value)),
        ("now", _amount(one, one.value_now)),
        ("limit", _amount(one, one.threshold)),
        ("since", shown(one.since)),
        ("fired", shown(one.fired_at) if one.fired_at else None),
        ("over", shown(one.resolved_at) if one.resolved_at else None),
        ("acknowledged", seen if one.acknowledged_by else None),
        ("muted", one.muted),
        ("what to do", one.note),
    ]


def check_rule(connection: "Connection[Any]", rule: str | None) -> None:
    """Raise UsageError, with the nearest name, for a rule that there is not."""
    from labmon.alerts import rules

    if rule is not None and rule not in {one.name for one in rules.rules(connection).values()}:
        rules.find(connection, rule)
