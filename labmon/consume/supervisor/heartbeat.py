"""How a supervisor and its worker processes communicate.

The supervisor writes a `WorkerJob` to the process's standard input, and closes it to end the process; the
kernel does so too when the supervisor dies, in whatever way. The process writes a `Heartbeat` to its standard
output every second, from a thread, so that a busy process can be distinguished from one that hangs. Both are
pickled: the two are the same program.
"""

from dataclasses import dataclass, field

from labmon.config.tables import DatabaseConfig, LogConfig, StateConfig
from labmon.consume.worker import Progress
from labmon.errors import LabmonError
from labmon.ingest.settings import IngestSettings

INTERVAL = 1.0
"""Seconds between two heartbeats."""


@dataclass(frozen=True)
class WorkerSettings:
    """The tables of the configuration that a worker process reads."""

    ingest: IngestSettings
    database: DatabaseConfig
    state: StateConfig
    log: LogConfig


@dataclass(frozen=True)
class WorkerJob:
    """What a worker process is started for."""

    settings: WorkerSettings
    queues: list[str]
    until_empty: bool = False


@dataclass(frozen=True)
class Heartbeat:
    """That the process is alive, and what its workers are doing."""

    rss: int  #: bytes of memory
    workers: list[Progress] = field(default_factory=list)
    error: LabmonError | None = None  #: why it ends, where trying again will not help
