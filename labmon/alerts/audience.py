"""Whom an alert is told to, and why."""

from collections.abc import Iterable
from dataclasses import dataclass

from labmon.config import Target
from labmon.messages import Alert


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a target is told, and why: what excludes it, or what it was chosen by."""

    target: Target
    told: bool
    why: str


def verdicts(alert: Alert, dept: int | None, lab: int | None, targets: Iterable[Target]) -> list[Verdict]:
    """One for every target, in their order. `dept` and `lab` are the machine's; None: it has none."""
    return [_verdict(alert, dept, lab, target) for target in targets]


def _verdict(alert: Alert, dept: int | None, lab: int | None, target: Target) -> Verdict:
    reasons = []
    if target.severities:
        if alert.severity not in target.severities:
            return Verdict(target, False, f"severity {alert.severity} is not in its severities")
        reasons.append(f"severity {alert.severity}")
    for name, mine, theirs in (
        ("department", dept, target.departments),
        ("lab", lab, target.labs),
    ):
        if theirs:
            if mine not in theirs:
                has = f"{name} {mine}" if mine is not None else f"no {name}"
                return Verdict(target, False, f"{has} is not in its {name}s")
            reasons.append(f"{name} {mine}")
    if alert.state == "resolved" and not target.resolved:
        return Verdict(target, False, "it is not told of ends (resolved = false)")
    return Verdict(target, True, ", ".join(reasons) or "it is told of everything")
