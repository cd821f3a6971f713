"""What `labmon alerts test` does: which targets would be notified of an alert, and why."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labmon.app.names import resolve_system
from labmon.app.open import open_store
from labmon.errors import UsageError
from labmon.table import Column
from labmon.text import nearest

if TYPE_CHECKING:
    from labmon.alerts.dry_run import Example
    from labmon.config.tables import Config, NotifyConfig, NotifyTarget


@dataclass(frozen=True)
class TargetRow:
    """A target in a list."""

    target: str
    notified: bool
    why: str


COLUMNS = [
    Column("target", "Target"),
    Column("notified", "Notified", lambda notified: "yes" if notified else "no"),
    Column("why", "Why", gives=True),
]


@dataclass(frozen=True)
class DryRun:
    """An alert as a rule would raise it, and each target with whether and why it would be notified."""

    rows: list[TargetRow]
    example: "Example"
    notified: "list[NotifyTarget]"


def dry_run(config: "Config", rule: str | None, system: str | None, to: str | None) -> DryRun:
    """Which targets would be notified if this rule fired now; a test message without a rule.

    `to` names a single target. Nothing is sent. Raises UsageError for what there is not.
    """
    from labmon.alerts.dry_run import example
    from labmon.alerts.routing import route

    targets = _chosen(config.notify.targets, to)
    with open_store(config) as store, store.transaction() as connection:
        number = None if system is None else resolve_system(connection, system)
        made = example(connection, rule, number)
    if rule is None and to is not None:
        rows = [TargetRow(to, True, "named by --to")]
    else:
        found = route(made.alert, made.departments, made.labs, targets)
        rows = [
            TargetRow(one.target.name, one.notified and not made.why_not, made.why_not or one.why)
            for one in found
        ]
    notified = {row.target for row in rows if row.notified}
    return DryRun(rows, made, [one for one in targets if one.name in notified])


def _chosen(targets: "list[NotifyTarget]", name: str | None) -> "list[NotifyTarget]":
    if not targets:
        raise UsageError("there are no targets: add one to [notify] targets, see config.example.toml")
    chosen = [one for one in targets if name is None or one.name == name]
    if not chosen:
        raise UsageError(f"there is no target {name!r}{nearest(name or '', [one.name for one in targets])}")
    return chosen


def send(settings: "NotifyConfig", run: DryRun, notice: Callable[[str], None]) -> bool:
    """Notify these targets now, without the queue; a line for each goes to `notice`. True when all were."""
    from labmon.alerts.deliveries import Delivery
    from labmon.alerts.notify.notification import Notification
    from labmon.alerts.notify.notifier import open_sender
    from labmon.alerts.notify.sender import SendFailed

    made, failed = run.example, False
    for target in run.notified:
        delivery = Delivery(
            *(0, target.name, made.alert, made.about.name, made.about.place, made.alert.at),
            *("waiting", None, 0, None),
        )
        try:
            open_sender(target, settings).send(Notification.of(target.name, [delivery]))
            notice(f"{target.name}: sent")
        except SendFailed as error:
            failed = True
            notice(f"{target.name}: not sent: {error}")
    if not run.notified:
        notice("no target to notify")
    return not failed
