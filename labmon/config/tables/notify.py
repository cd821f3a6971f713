"""[notify] and [[notify.targets]]"""

from collections.abc import Iterator
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from labmon.config.tables.fields import Number, QueueName, Table, comment
from labmon.config.units import Seconds


class NotifyTarget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A receiver of alerts, and which alerts it gets. An empty list excludes nothing."""

    name: QueueName
    url: Annotated[str, Meta(min_length=1)]
    secret: str = ""
    severities: list[Literal["info", "warning", "critical"]] = msgspec.field(default_factory=list)
    departments: list[Number] = msgspec.field(default_factory=list)
    labs: list[Number] = msgspec.field(default_factory=list)
    resolved: bool = True


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
            "Each target is a table. url: a URL of Apprise, such as mailto://user:password@example.edu, or "
            "the http(s) URL of a webhook; secret: the key that signs what is sent to a webhook. An empty or "
            "absent list excludes nothing. departments, labs: alerts about machines there. resolved = false: "
            "no notification when an alert is over.",
            secret=True,
            example='[[notify.targets]]\nname = "admins"\nurl = "https://hooks.example.edu/labmon"\n'
            'secret = "..."\nseverities = ["warning", "critical"]\ndepartments = [1]\nlabs = [3, 4]',
        ),
    ] = msgspec.field(default_factory=list)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Deliveries are stored under the target's name, and a webhook needs a host to be sent to."""
        names = [target.name for target in self.targets]
        for name in dict.fromkeys(names):
            if names.count(name) > 1:
                yield "targets", f"{names.count(name)} targets are named {name!r}"
        for target in self.targets:
            if target.url.startswith(("http://", "https://")) and not _has_host(target.url):
                yield "targets", f"{target.name!r}: url: expected https://HOST/PATH"


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0  # asking for the port checks it
    except ValueError:
        return False
