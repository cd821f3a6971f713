"""What `labmon alerts template` does: the texts of notifications, and whether one of your own renders."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from labmon.errors import UsageError
from labmon.text import nearest

if TYPE_CHECKING:
    from labmon.alerts.deliveries import Delivery
    from labmon.alerts.notify.templates.parts import Rendered
    from labmon.config.tables import Config, NotifyConfig
    from labmon.pg import Connection


@dataclass(frozen=True)
class Checked:
    """A template with what it makes of an example, or of the last alert."""

    of: str
    rendered: "Rendered"


def source(settings: "NotifyConfig", name: str) -> str:
    """The text of a target's template, or of a built-in one by its name. Raises UsageError."""
    from labmon.alerts.notify.templates.parts import BUILT_IN, TemplateFault
    from labmon.alerts.notify.templates.process import read
    from labmon.alerts.notify.templates.render import built_in_source

    known = {target.name: target for target in settings.targets}
    if name == BUILT_IN or (name in known and not known[name].template):
        return built_in_source()
    if name not in known:
        raise UsageError(
            f"there is no target {name!r}{nearest(name, known)}. The built-in template: {BUILT_IN}"
        )
    try:
        return read(known[name].template)
    except TemplateFault as fault:
        raise UsageError(f"{known[name].template}: {fault}") from fault


def check(config: "Config", file: str, last: "Delivery | None") -> list[Checked]:
    """What a file makes of an example, and of the `last` alert if there is one.

    Raises UsageError, with the line of the file that is wrong.
    """
    from labmon.alerts.notify.facts import Style
    from labmon.alerts.notify.notification import Notification
    from labmon.alerts.notify.templates.parts import TemplateFault
    from labmon.alerts.notify.templates.process import read, render_apart

    # The addresses and zones of the target that has this template, if one has.
    settings = config.notify.targets
    style = next(
        (Style.of(one, config.dashboard.url) for one in settings if one.template == file),
        Style(dashboard=config.dashboard.url.rstrip("/") or "https://labmon.example.edu"),
    )
    asked = [("an example", examples())] + ([("the last alert", [last])] if last else [])
    try:
        text = read(file)
        return [
            Checked(of, render_apart(Notification.of("example", some, style).values(), text))
            for of, some in asked
        ]
    except TemplateFault as fault:
        raise UsageError(f"{file}: {fault}") from fault


def last_alert(connection: "Connection[object]") -> "Delivery | None":
    """The alert of the last notification."""
    from labmon.alerts import deliveries

    return next(iter(deliveries.recent(connection, limit=1)), None)


def examples() -> "list[Delivery]":
    """Alerts of several kinds: with and without a mount, of many systems, and one that is over."""
    from msgspec.structs import replace

    from labmon.alerts.deliveries import Delivery
    from labmon.messages import Alert, utcnow

    now = utcnow().replace(microsecond=0)
    alert = Alert(
        system_id=1,
        alert_type="disk_full",
        rule="disk_full",
        severity="critical",
        value=98.2,
        threshold=97.0,
        at=now,
        since=now - timedelta(minutes=7),
        alert_id=17,
        kind="threshold",
        metric="disk_percent",
    )
    many = [f"a101-pc{number:02}" for number in range(1, 25)]
    changed = {"alert_type": "ram_changed", "rule": "ram_changed", "metric": "ram_total_bytes"}
    down = {"alert_type": "lab_down:lab 3", "rule": "lab_down", "note": "Power or network of the room."}
    over = {"alert_type": "cpu_high", "rule": "cpu_high", "severity": "warning", "metric": "cpu_percent"}
    alerts = {
        "a101-pc01 (10.30.5.1)": replace(alert, mount="/home"),
        "a101-pc02 (10.30.5.2)": replace(
            alert, **changed, alert_id=18, kind="changed", value=2.0**33, threshold=2.0**34
        ),
        "A-101": replace(
            alert, **down, alert_id=19, kind="lab_down", value=100.0, covers=many, covered=24, repeat=1
        ),
        "a101-pc03 (10.30.5.3)": replace(alert, **over, alert_id=20, value=12.5, state="resolved"),
    }
    return [
        Delivery(number, "example", one, about, "A-101", now, "waiting", None, 0, None)
        for number, (about, one) in enumerate(alerts.items(), 1)
    ]
