"""An example of the alert that a rule would raise, to see which targets would be notified."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace
from psycopg import Connection

from labmon.alerts import deliveries, rules
from labmon.alerts.deliveries import Whereabouts
from labmon.alerts.rules import Rule
from labmon.errors import UsageError
from labmon.messages import OURSELVES, Alert, utcnow
from labmon.store.inventory import maintenance, systems

OF_LABMON = ("queue_backlog", "spool_full", "collector_down")
"""The kinds that are about labmon itself."""


@dataclass(frozen=True, slots=True)
class Example:
    """The alert, and the departments and labs it concerns; None: that depends on the system."""

    alert: Alert
    about: Whereabouts
    departments: Set[int] | None
    labs: Set[int] | None
    why_not: str  #: why no target would be notified now; "" when one would


def example(connection: Connection[Any], which: str | None, system: int | None) -> Example:
    """The alert of a rule, by its name or number, at its threshold; about this system, or about where it is.

    Without a rule it is a mere test. Of several rules of one name it is the one that counts for the system.
    Raises UsageError for what there is not.
    """
    if system is not None:
        systems.check_known(connection, [system])
    if which is None:
        alert = _alert(Rule(name="test", metric="load1", severity="info"), system)
        (about,) = deliveries.whereabouts(connection, [alert])
        return Example(alert, about, about.departments, about.labs, _muted(connection, alert, about))
    number, rule = _find(connection, which, system)
    if rule.kind in OF_LABMON and system is not None:
        raise UsageError(f"rule {rule.name} is about labmon itself, not about a system")
    system = system or rule.system
    alert = _alert(rule, system)
    if rule.kind in ("lab_down", "network_down") and system is not None:
        alert = _about_group(connection, rule, alert)
    (about,) = deliveries.whereabouts(connection, [alert])
    departments, labs = _touched(connection, rule, alert, about)
    why_not = _uncovered(connection, number, rule, system) or _muted(connection, alert, about)
    return Example(alert, about, departments, labs, why_not)


def _alert(rule: Rule, system: int | None) -> Alert:
    return Alert(
        system_id=system or OURSELVES,
        alert_type=rule.name,
        severity=rule.severity,
        value=rule.threshold,
        threshold=rule.threshold,
        at=utcnow(),
        rule=rule.name,
        note="This is a test: nothing is wrong.",
        dept_id=rule.dept,
        lab_id=rule.lab,
    )


def _find(connection: Connection[Any], which: str, system: int | None) -> tuple[int, Rule]:
    """Of the rules of that name, the one that counts for the system; else as `rules.find` has it."""
    if system is not None:
        row = connection.execute(
            "SELECT rule_id FROM alert_coverage JOIN alert_rules USING (rule_id) "
            "WHERE name = %s AND alert_coverage.system_id = %s",
            [which, system],
        ).fetchone()
        which = str(row[0]) if row else which
    return rules.find(connection, which)


def _about_group(connection: Connection[Any], rule: Rule, alert: Alert) -> Alert:
    """The lab or the network of the alert's system instead of the system."""
    row = connection.execute(
        "SELECT subject, labs.dept_id, labs.lab_id FROM alert_groups "
        "LEFT JOIN labs ON kind = 'lab_down' AND subject = 'lab ' || labs.lab_id "
        "WHERE kind = %s AND system_id = %s AND subject <> 'all networks'",
        [rule.kind, alert.system_id],
    ).fetchone()
    if row is None:
        lacks = "lab" if rule.kind == "lab_down" else "network"
        raise UsageError(f"system {alert.system_id} is in no {lacks}, so {rule.name} is never about it")
    subject, dept, lab = row
    return replace(
        alert,
        system_id=OURSELVES,
        alert_type=f"{rule.name}:{subject}",
        subject=subject,
        dept_id=dept,
        lab_id=lab,
    )


def _touched(
    connection: Connection[Any], rule: Rule, alert: Alert, about: Whereabouts
) -> tuple[Set[int] | None, Set[int] | None]:
    """The departments and labs that it would touch."""
    if rule.kind in ("queue_backlog", "spool_full") or alert.system_id != OURSELVES:
        return about.departments, about.labs
    if rule.kind != "collector_down" and alert.subject is None:  # of some system within the rule's scope
        return about.departments or None, about.labs or None
    row = connection.execute(
        "SELECT array_agg(DISTINCT dept_id), array_remove(array_agg(DISTINCT lab_id), NULL) FROM systems "
        "WHERE CASE %(subject)s::text IS NULL WHEN true THEN last_collected IS NOT NULL ELSE system_id IN "
        "(SELECT system_id FROM alert_groups WHERE kind = %(kind)s AND subject = %(subject)s) END",
        {"kind": rule.kind, "subject": alert.subject},
    ).fetchone()
    departments, labs = row or (None, None)
    return set(departments or ()), set(labs or ())


def _uncovered(connection: Connection[Any], number: int, rule: Rule, system: int | None) -> str:
    """Why the rule says nothing of the system: "" where it does."""
    if not rule.enabled:
        return f"rule {number} is not enabled"
    if system is None:
        return ""
    row = connection.execute(
        "SELECT FROM alert_coverage WHERE rule_id = %s AND system_id = %s", [number, system]
    ).fetchone()
    return "" if row is not None else f"rule {number}, of {rule.scope}, does not count for system {system}"


def _muted(connection: Connection[Any], alert: Alert, about: Whereabouts) -> str:
    """What mutes it now; "" for nothing."""
    own = {
        maintenance.EVERYTHING,
        maintenance.Scope(dept_id=about.dept_id),
        maintenance.Scope(lab_id=about.lab_id),
        maintenance.Scope(system_id=alert.system_id or None),
    }
    for one in maintenance.maintenances(connection, utcnow()):
        if one.active and one.scope in own and one.rule in (None, alert.rule):
            word = "silence" if one.mode == "silence" else "maintenance"
            return f"{word} {one.maintenance_id} of {one.scope}, mode {one.mode}"
    return ""
