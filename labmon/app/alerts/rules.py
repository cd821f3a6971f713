"""What `labmon alerts rules` does, and how it lists rules."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labmon.errors import UsageError
from labmon.table import Column

if TYPE_CHECKING:
    from labmon.alerts.rules import Rule
    from labmon.pg import Connection
    from labmon.store.inventory.maintenance import Scope


@dataclass(frozen=True)
class RuleRow:
    """A rule in a list."""

    rule_id: int
    name: str
    kind: str
    condition: str
    clear: float | None
    hold_seconds: float
    clear_for_seconds: float
    repeat_seconds: float
    severity: str
    scope: str
    enabled: bool
    note: str | None

    @property
    def clears(self) -> str:
        """The value at which an alert ends, and how long it has to last, such as "80, 5m"."""
        return f"{'-' if self.clear is None else format(self.clear, 'g')}, {_length(self.clear_for_seconds)}"

    @classmethod
    def of(cls, number: int, rule: "Rule") -> "RuleRow":
        return cls(
            number,
            rule.name,
            rule.kind,
            condition(rule),
            rule.clear,
            rule.hold,
            rule.hold if rule.clear_for is None else rule.clear_for,
            rule.repeat,
            rule.severity,
            str(rule.scope),
            rule.enabled,
            rule.note,
        )


def condition(rule: "Rule") -> str:
    """When the rule fires, in words."""
    limit = f"{rule.comparison} {rule.threshold:g}"
    match rule.kind:
        case "threshold":
            return f"{rule.metric} {limit}"
        case "rate":
            return f"{rule.metric} at 100 in {limit} h"
        case "changed":
            return f"{rule.metric} changed {limit} %"
        case "gone":
            return f"{rule.metric} gone"
        case "no_data":
            return f"silent {limit} s" + (f", steady {rule.steady}" if rule.steady else "")
        case "lab_down" | "network_down":
            return f"silent {limit} %, {rule.least} at least"
        case "queue_backlog":
            return f"waiting {limit}"
        case "collector_down":
            return f"nothing measured {limit} s"
        case _:
            return f"spool {limit} %"


def _length(seconds: float) -> str:
    from labmon.config.units import Seconds

    return str(Seconds(seconds))


COLUMNS = [
    Column("rule_id", "ID", right=True),
    Column("name", "Name"),
    Column("condition", "Condition", gives=True),
    Column("hold_seconds", "For", _length, right=True),
    Column("clears", "Clear at", right=True),
    Column("severity", "Severity"),
    Column("scope", "Scope"),
    Column("enabled", "On", lambda on: "yes" if on else "no"),
]


def add(connection: "Connection[Any]", rule: "Rule", about: "Scope") -> tuple[int, "Rule"]:
    """Add a rule for this scope, in the caller's transaction. Raises UsageError when there is one already."""
    from msgspec.structs import replace

    from labmon.alerts import rules

    rule = replace(rule, dept=about.dept_id, lab=about.lab_id, system=about.system_id)
    known = rules.rules(connection).items()
    same = [number for number, one in known if (one.name, one.scope) == (rule.name, rule.scope)]
    if same:
        raise UsageError(
            f"there is a rule {rule.name} for {rule.scope}. Change it with: labmon alerts rules set {same[0]}"
        )
    return rules.put(connection, rule), rule


def change(connection: "Connection[Any]", which: str, values: dict[str, Any]) -> None:
    """Overwrite these keys of a rule, found by its name or number. Raises UsageError."""
    from msgspec.structs import asdict, fields

    from labmon.alerts import rules

    number, rule = rules.find(connection, which)
    names = {info.name: info.encode_name for info in fields(rule)}
    before = {names[name]: value for name, value in asdict(rule).items()}
    rules.put(connection, rules.convert(before | values, f"rule {rule.name}"), number)


def others(connection: "Connection[Any]", kept: set[int]) -> dict[int, str]:
    """The rules but these: name and scope by number."""
    from labmon.alerts import rules

    found = rules.rules(connection)
    return {number: f"{one.name} ({one.scope})" for number, one in found.items() if number not in kept}
