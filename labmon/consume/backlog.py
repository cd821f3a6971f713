"""How full the queues are, judged by the thresholds of the configuration."""

from enum import IntEnum

from labmon.brokers.base import Depth
from labmon.config.tables import QueueConfig


class BacklogLevel(IntEnum):
    """As monitoring plugins count; the numbers are exit codes."""

    ok = 0
    warning = 1
    critical = 2


def level(depth: Depth, settings: QueueConfig) -> BacklogLevel:
    """How bad this is: by the messages that wait, and whether there are dead letters."""
    if depth.ready > settings.depth_critical:
        return BacklogLevel.critical
    over = depth.ready > settings.depth_warning or depth.dead > 0
    return BacklogLevel.warning if over else BacklogLevel.ok


def advice(queue: str, depth: Depth, settings: QueueConfig) -> str:
    """What to do about it; empty where nothing is to be done."""
    if depth.ready > settings.depth_critical:
        return "alert operations"
    if depth.ready > settings.depth_warning:
        return "add consumers"
    return f"labmon dead-letters list {queue}" if depth.dead else ""
