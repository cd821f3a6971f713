"""The interface of every sink, and which queue a message belongs to."""

from typing import Protocol

from labmon.config.tables import QueueConfig
from labmon.messages import Alert, AnyMessage, Discovery, Facts, Metrics, ScanFinished, SystemStatus


class Sink(Protocol):
    """Takes messages and sees to it that they arrive."""

    @property
    def rejected(self) -> int:
        """How many could not be stored, as far as is known by now."""

    @property
    def spooled(self) -> int:
        """How many of those sent wait in the spool of this machine."""

    def send(
        self, message: AnyMessage, *, dept: int | None = None, lab: int | None = None, database: str = ""
    ) -> None:
        """Take a message and deliver it, now or with the next `flush`.

        `dept` and `lab` of the system it is about decide on its priority. `database` is the identity
        (`labmon.store.identity`) of the database whose system number is in it; "" when there is none.
        Raises LabmonError when it can be kept nowhere.
        """

    def flush(self) -> None:
        """Return when everything sent so far is delivered or spooled. Raises LabmonError."""


class NullSink:
    """The sink of a dry run: drops everything."""

    rejected = 0
    spooled = 0

    def send(
        self, message: AnyMessage, *, dept: int | None = None, lab: int | None = None, database: str = ""
    ) -> None:
        """Drop it."""

    def flush(self) -> None:
        """Nothing to do."""


def queue_of(message: AnyMessage, settings: QueueConfig) -> str:
    """The configured queue that a message belongs to."""
    match message:
        case Discovery() | ScanFinished() | SystemStatus() | Facts():
            return settings.discovery_queue
        case Metrics():
            return settings.metrics_queue
        case Alert():
            return settings.alert_queue
