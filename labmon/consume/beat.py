"""What a supervisor and its worker processes say to each other.

The supervisor writes a `Job` to the process's standard input, and closes that to end it; so does the kernel
when the supervisor dies, in whatever way. The process writes a `Beat` to its standard output every second,
from a thread, so that one that is busy for long is told from one that hangs. Both are pickled: the two are
the same program.
"""

from dataclasses import dataclass, field

from labmon.config import Config
from labmon.consume.worker import Progress
from labmon.errors import LabmonError

BEAT = 1.0
"""Seconds between two beats."""


@dataclass(frozen=True)
class Job:
    """What the process is for."""

    config: Config
    queues: list[str]
    until_empty: bool = False


@dataclass(frozen=True)
class Beat:
    """That it lives, and what it is at."""

    rss: int  #: bytes of memory
    workers: list[Progress] = field(default_factory=list)
    error: LabmonError | None = None  #: why it ends, where trying again will not help
