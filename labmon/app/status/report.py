"""What `labmon status` found out."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labmon.alerts.incidents import Incident


class Level(IntEnum):
    """As monitoring plugins count; the numbers are exit codes."""

    ok = 0
    warning = 1
    critical = 2


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong: in which part, how badly, and in words."""

    part: str
    level: str
    text: str
    more: str = ""  #: details, and what to do


@dataclass(frozen=True)
class FailingSystem:
    """A system that should be measured, and is not."""

    system_id: int
    ip_address: str | None
    hostname: str | None
    lab: str | None
    status: str
    since: datetime | None
    reason: str


@dataclass(frozen=True)
class LabStatus:
    """The systems of a lab, or those of a department in none (then without lab)."""

    dept_id: int
    lab_id: int | None
    lab: str | None
    systems: int
    failing: int
    by_status: dict[str, int]


@dataclass(frozen=True)
class DepartmentStatus:
    """A department, when it was scanned last, and when one of its systems was measured last."""

    dept_id: int
    name: str | None
    systems: int
    failing: int
    last_scan_at: datetime | None
    last_scan_status: str | None
    last_scan_found: int | None  #: systems
    last_collected: datetime | None


@dataclass(frozen=True)
class QueueStatus:
    """A queue of the broker."""

    queue: str
    ready: int
    dead: int
    consumers: int | None
    oldest_age_seconds: float | None
    level: str


@dataclass(frozen=True)
class WorkersStatus:
    """The worker processes on all machines."""

    alive: int
    dead: int  #: that stopped without saying so, in the last day
    hosts: list[str]  #: of those alive
    per_second: float  #: messages, all together


@dataclass(frozen=True)
class SpoolStatus:
    """What waits on the disk of this machine."""

    messages: int
    bytes: int
    max_bytes: int
    oldest_at: datetime | None


@dataclass(frozen=True)
class Versions:
    """The version of everything; None for what was away."""

    labmon: str
    python: str
    database: str | None
    schema: int | None
    broker: str


@dataclass
class Report:
    """All of it. What comes from the database is empty while `database_error` says why it is away, and so are
    the queues with `queue_error`."""

    now: datetime
    versions: Versions
    database: str  #: where it is
    database_error: str | None = None
    systems: int = 0
    by_status: dict[str, int] = field(default_factory=dict)
    labs: list[LabStatus] = field(default_factory=list)
    departments: list[DepartmentStatus] = field(default_factory=list)
    failing: list[FailingSystem] = field(default_factory=list)
    alerts: "list[Incident]" = field(default_factory=list)
    newest_reading_at: datetime | None = None
    usual_gap_seconds: float | None = None  #: between two readings; None where no reading is due
    reading_due: bool = False  #: some system should be measured now
    broker: str = ""  #: where it is
    queue_enabled: bool = False
    queue_error: str | None = None
    queues: list[QueueStatus] = field(default_factory=list)
    workers: WorkersStatus | None = None
    spool: SpoolStatus | None = None
    spool_error: str | None = None
    unreached: dict[str, datetime] = field(default_factory=dict)  #: notification target -> since when
    troubles: list[Trouble] = field(default_factory=list)

    @property
    def level(self) -> Level:
        """That of the worst trouble."""
        return max((Level[one.level] for one in self.troubles), default=Level.ok)

    @property
    def newest_reading_age(self) -> float | None:
        """Seconds; None while there is no reading."""
        if self.newest_reading_at is None:
            return None
        return max(0.0, (self.now - self.newest_reading_at).total_seconds())
