"""When a queue gets another worker, and when it loses one again."""

from collections.abc import Mapping

from labmon.brokers.base import Depth
from labmon.config.tables import ConsumeConfig


class Autoscale:
    """Remembers since when each queue has been deep or shallow. Decides; starts and stops nothing itself."""

    def __init__(self, settings: ConsumeConfig, depth_warning: int) -> None:
        """A queue with more than `depth_warning` messages is deep."""
        self._deep = depth_warning
        self._up_after = float(settings.scale_up_after)
        self._down_after = float(settings.scale_down_after)
        self._over_since: dict[str, float] = {}
        self._under_since: dict[str, float] = {}

    def wanted(self, depths: Mapping[str, Depth], room: int, now: float) -> list[str]:
        """The queues that get one more worker, deepest first, at most `room`. Each waits anew after that."""
        for queue, depth in depths.items():
            if depth.ready > self._deep:
                self._over_since.setdefault(queue, now)
            else:
                self._over_since.pop(queue, None)
        due = [queue for queue in depths if _is_due(self._over_since.get(queue), self._up_after, now)]
        chosen = sorted(due, key=lambda queue: depths[queue].ready, reverse=True)[:room]
        for queue in chosen:
            self._over_since[queue] = now
        return chosen

    def spare(self, depths: Mapping[str, Depth], extra: Mapping[str, int], now: float) -> list[str]:
        """The queues that lose one of their extra workers. Each waits anew after that."""
        for queue, depth in depths.items():
            if extra.get(queue) and depth.ready <= self._deep / 2:
                self._under_since.setdefault(queue, now)
            else:
                self._under_since.pop(queue, None)
        chosen = [queue for queue in depths if _is_due(self._under_since.get(queue), self._down_after, now)]
        for queue in chosen:
            self._under_since[queue] = now
        return chosen


def _is_due(since: float | None, after: float, now: float) -> bool:
    return since is not None and now - since >= after
