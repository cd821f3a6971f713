"""[notify] and [[notify.targets]]"""

from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from labmon.config.tables.fields import Number, QueueName, Table, comment
from labmon.config.units import Seconds

WEB = ("http://", "https://")
ALERTMANAGER = ("alertmanager+http://", "alertmanager+https://")
"""How the URLs begin to which labmon posts by itself; the others are Apprise's."""


class NotifyTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receiver of alerts, which alerts it gets, and how they are told. An empty list excludes nothing."""

    name: QueueName
    url: Annotated[str, Meta(min_length=1)]
    secret: str = ""
    severities: list[Literal["info", "warning", "critical"]] = msgspec.field(default_factory=list)
    departments: list[Number] = msgspec.field(default_factory=list)
    labs: list[Number] = msgspec.field(default_factory=list)
    resolved: bool = True
    after: Seconds = Seconds(0)
    timezone: str = ""
    template: str = ""

    @property
    def is_alertmanager(self) -> bool:
        """True for an Alertmanager, which is sent alerts and not texts."""
        return self.url.startswith(ALERTMANAGER)

    @property
    def is_web(self) -> bool:
        """True where labmon itself posts to an http(s) address."""
        return self.url.startswith((*WEB, *ALERTMANAGER))


class NotifyConfig(Table, frozen=True, kw_only=True):
    """Notifications about alerts. `labmon consume` sends them."""

    group_wait: Annotated[
        Seconds, comment("How long the first alert for a target waits for others, to share a notification.")
    ] = Seconds(1)
    group_interval: Annotated[
        Seconds, comment("Minimum time between two notifications to one target. Critical alerts do not wait.")
    ] = Seconds(30)
    timeout: Annotated[Seconds, comment("Timeout for a webhook or a mail server.", least=1)] = Seconds(10)
    retry_for: Annotated[
        Seconds, comment("How long to retry a target that cannot be reached, with exponential backoff.")
    ] = Seconds(86400)
    targets: Annotated[
        list[NotifyTarget],
        comment(
            "Each target is a table. url: a URL of Apprise, such as mailto://user:password@example.edu,"
            " the http(s) URL of a webhook, or alertmanager+https://HOST:9093; secret: the key that "
            "signs what is sent to a webhook. An empty or absent list excludes nothing. departments, "
            "labs: alerts about machines there. resolved = false: no notification when an alert is "
            "over. after: escalation, only alerts that are not acknowledged within this time. timezone: "
            "of the times in its texts, such as Europe/Berlin; this machine's without it. template: a "
            "file with texts of your own (labmon alerts template show).",
            secret=True,
            example='[[notify.targets]]\nname = "admins"\nurl = "https://hooks.example.edu/labmon"\n'
            'secret = "..."\nseverities = ["warning", "critical"]\ndepartments = [1]\nlabs = [3, 4]\n\n'
            '[[notify.targets]]\nname = "head"\nurl = "mailto://user:password@example.edu?to=head@example.edu"'
            '\nseverities = ["critical"]\nafter = "30m"\ntimezone = "Europe/Berlin"',
        ),
    ] = msgspec.field(default_factory=list)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Deliveries are stored under the target's name, and a web address needs a host to be sent to."""
        names = [target.name for target in self.targets]
        for name in dict.fromkeys(names):
            if names.count(name) > 1:
                yield "targets", f"{names.count(name)} targets are named {name!r}"
        for target in self.targets:
            if target.is_web and not _has_host(target.url):
                scheme = target.url.partition(":")[0] if target.is_alertmanager else "https"
                yield "targets", f"{target.name!r}: url: expected {scheme}://HOST/PATH"
            if target.timezone and not _is_zone(target.timezone):
                fault = f"timezone: there is no {target.timezone!r}. Give one such as Europe/Berlin"
                yield "targets", f"{target.name!r}: {fault}"


def _is_zone(name: str) -> bool:
    from zoneinfo import ZoneInfo  # few configurations name one

    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return False
    return True


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0  # asking for the port checks it
    except ValueError:
        return False
