"""What consumers have in common on servers where labmon itself counts how long a delivery is owned."""

from labmon.brokers.base import Consumer, LaneShare


class LeasedConsumer(Consumer):
    """One queue, and the limits of what is taken from it. `lease` and `ttl` are in seconds."""

    def __init__(self, queue: str, prefetch: int, lease: float, ttl: float | None) -> None:
        self._queue = queue
        self._prefetch = prefetch
        self._lease = lease
        self._ttl = ttl
        self._share = LaneShare()
