"""What the methods of one sweep share."""

from dataclasses import dataclass
from threading import Event

from labmon.config.tables import ScanConfig
from labmon.scan.pacing.rate import RateLimiter
from labmon.scan.progress import Progress


@dataclass(frozen=True)
class SweepContext:
    """Settings, counters, and the one rate limit that all packets of a sweep keep."""

    settings: ScanConfig
    progress: Progress
    stop: Event  #: set: the methods end soon, with what they found by then
    limiter: RateLimiter
