"""How full the queues are, judged by the thresholds of the configuration."""

from enum import IntEnum

from labmon.brokers.base import Depth
from labmon.config import Queue


class Level(IntEnum):
    """As monitoring plugins count; the numbers are exit codes."""

    ok = 0
    warning = 1
    critical = 2

    @property
    def advice(self) -> str:
        """What to do about it."""
        return ("", "add consumers", "alert operations")[self]


def level(depth: Depth, settings: Queue) -> Level:
    """How bad this is: by the messages that wait."""
    if depth.ready > settings.depth_critical:
        return Level.critical
    return Level.warning if depth.ready > settings.depth_warning else Level.ok
