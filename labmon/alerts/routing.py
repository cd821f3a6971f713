"""Routing: which targets receive an alert, and why."""

from collections.abc import Iterable, Set
from dataclasses import dataclass

from labmon.config.tables import NotifyTarget
from labmon.messages import Alert


@dataclass(frozen=True, slots=True)
class RoutingDecision:
    """Whether a target is notified, and why: what excludes it, or what selects it."""

    target: NotifyTarget
    notified: bool
    why: str


def route(
    alert: Alert, departments: Set[int] | None, labs: Set[int] | None, targets: Iterable[NotifyTarget]
) -> list[RoutingDecision]:
    """One for every target, in their order.

    `departments` and `labs` are those that the alert touches, none of them included; None: it is about some
    system or other, and the targets depend on which.
    """
    return [_verdict(alert, departments, labs, target) for target in targets]


def _verdict(
    alert: Alert, departments: Set[int] | None, labs: Set[int] | None, target: NotifyTarget
) -> RoutingDecision:
    reasons = []
    if target.severities:
        if alert.severity not in target.severities:
            return RoutingDecision(target, False, f"severity {alert.severity} is not in its severities")
        reasons.append(f"severity {alert.severity}")
    for name, touched, wanted in (
        ("department", departments, target.departments),
        ("lab", labs, target.labs),
    ):
        if not wanted:
            continue
        if touched is None:
            reasons.append(f"only where it touches {_named(name, wanted)}")
        elif both := touched & set(wanted):
            reasons.append(_named(name, both))
        else:
            verb = "are" if len(touched) > 1 else "is"
            return RoutingDecision(target, False, f"{_named(name, touched)} {verb} not in its {name}s")
    if alert.state == "resolved" and not target.resolved:
        return RoutingDecision(target, False, "it does not receive resolved alerts (resolved = false)")
    why = ", ".join(reasons) or "it receives every alert"
    return RoutingDecision(
        target, True, f"{why}, if nobody acknowledges it within {target.after}" if target.after else why
    )


def _named(name: str, numbers: Iterable[int]) -> str:
    known = sorted(numbers)
    if not known:
        return f"no {name}"
    return f"{name}{'s' if len(known) > 1 else ''} {', '.join(map(str, known))}"
