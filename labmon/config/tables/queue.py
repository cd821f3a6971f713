"""[queue]"""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Annotated, Literal

import msgspec

from labmon.config.tables.fields import HighPriority, QueueName, Table, comment
from labmon.config.units import Seconds


class QueueConfig(Table, frozen=True, kw_only=True):
    """The message queue between scan and collect on one side and the workers on the other."""

    enabled: Annotated[
        bool, comment("true: scan and collect publish to the queue. false: they store directly.")
    ] = False
    type: Annotated[
        Literal["postgres", "redis", "rabbitmq"],
        comment("The broker. postgres without a host: the queue is in the [database] itself."),
    ] = "postgres"
    host: Annotated[
        str,
        comment(
            "The broker's host. rabbitmq: also several, separated by commas and tried in turn. Empty: this "
            "machine; with type postgres the [database]."
        ),
    ] = ""
    port: Annotated[int, comment("The broker's port. 0: the default port of its type.", ge=0, le=65535)] = 0
    user: Annotated[str, comment("The account at the broker. Empty with rabbitmq: guest.")] = ""
    password: Annotated[
        str, comment("The account's password. Better in the environment: QUEUE_PASSWORD.", secret=True)
    ] = ""
    tls: Annotated[
        bool, comment("Encrypt the connection to the broker's host, and verify the server's certificate.")
    ] = False
    tls_ca: Annotated[
        str, comment("A file with the CA certificates to verify with. Empty: those of this machine.")
    ] = ""
    tls_verify: Annotated[
        bool, comment("false: encrypt without verifying the certificate. Anyone on the way can read along.")
    ] = True
    database: Annotated[
        str,
        comment(
            "The database on the broker's host. postgres: a name (empty: labmon). redis: a number (empty: 0)."
        ),
    ] = ""
    vhost: Annotated[str, comment("The virtual host of rabbitmq.")] = "/"
    management_url: Annotated[
        str,
        comment(
            "The management API of rabbitmq, such as https://mq.example.edu:15671, to set policies. "
            "Empty: not used.",
            secret=True,
        ),
    ] = ""
    discovery_queue: Annotated[QueueName, comment("The queue for what scans find.")] = "discovery_queue"
    metrics_queue: Annotated[QueueName, comment("The queue for measurements.")] = "metrics_queue"
    alert_queue: Annotated[QueueName, comment("The queue for alerts.")] = "alert_queue"
    lease: Annotated[
        Seconds,
        comment(
            "How long a worker may hold a message before another worker gets it. Must exceed the time that a "
            "batch takes.",
            least=1,
        ),
    ] = Seconds(60)
    ttl: Annotated[
        Seconds,
        comment(
            'Measurements that waited longer than this become dead letters with the reason "expired". '
            "0s: no limit."
        ),
    ] = Seconds(0)
    high_priority: Annotated[
        list[HighPriority],
        comment(
            'Departments, labs and systems whose messages are stored first, such as ["dept:1", "lab:3", '
            '"system:42"]: they go to the queue NAME.high. Empty: no message does.'
        ),
    ] = msgspec.field(default_factory=list)
    depth_warning: Annotated[
        int, comment("Warning when more messages than this wait in one queue: add workers.", ge=1)
    ] = 1000
    depth_critical: Annotated[
        int,
        comment(
            "Critical when more than this wait. Both set the exit code of `labmon queue-depth`; backlog "
            "alerts come from the alert rule queue_backlog.",
            ge=1,
        ),
    ] = 10000

    @property
    def names(self) -> list[str]:
        """The names of the three queues."""
        return [self.discovery_queue, self.metrics_queue, self.alert_queue]

    @property
    def in_store(self) -> bool:
        """True when the store's own database is the broker."""
        return self.type == "postgres" and not self.host

    def faults(self) -> Iterator[tuple[str, str]]:
        """Three queues are three, and none has the name of another's high lane or dead letters.

        The host is one; the database of redis is a number.
        """
        for host in self.host.split(",") if self.type == "rabbitmq" else [self.host]:
            if wrong := _not_a_host(host.strip(), self.type):
                yield "host", wrong
        if self.type == "redis" and not re.fullmatch(r"\d{0,9}", self.database, re.ASCII):
            yield "database", f"redis has numbers, not {self.database!r}"
        for key, name in zip(("discovery_queue", "metrics_queue", "alert_queue"), self.names, strict=True):
            if self.names.count(name) > 1:
                yield key, f"{name!r} is the name of another queue too"
            if name.endswith((".high", ".dead")):
                yield key, f"{name!r} ends in .high or .dead, which labmon appends to names of queues itself"


_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")


def _not_a_host(text: str, kind: str) -> str:
    """Why this is no host of a broker, and what to write. Empty: it is one, or none is given."""
    if not text or (kind != "rabbitmq" and text.startswith(("/", "@"))):  # a socket
        return ""
    if "://" in text or "/" in text or "@" in text:
        return "expected a host, not a URL: its user, port and vhost have keys of their own"
    host, colon, port = text.rpartition(":")
    if kind == "rabbitmq" and colon and port.isdecimal() and (host.startswith("[") or ":" not in host):
        text = host  # each of several may have its own port
    try:
        ip_address(text.strip("[]").partition("%")[0])
    except ValueError:
        if not _NAME.fullmatch(text):
            more = ". The port has a key of its own" if colon and port.isdecimal() else ""
            return f"{text[:60]!r} is no name or address of a host{more}"
    return ""
