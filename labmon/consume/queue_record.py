"""Writing down how full the queues are, for their history."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from labmon.brokers.base import Depth
from labmon.store import queue_history
from labmon.store.queue_history import QueueRate, QueueSample

if TYPE_CHECKING:
    from labmon.pg import Connection


def samples(depths: Mapping[str, Depth]) -> list[QueueSample]:
    """What the store keeps of these depths."""
    return [QueueSample(queue, **asdict(depth)) for queue, depth in depths.items()]


class QueueRecord:
    """Writes each slot once, as far as this process is concerned. Others may have been first."""

    def __init__(self) -> None:
        self._slot = 0
        self._flow = queue_history.Flow()

    def write(
        self, connection: "Connection[Any]", found: Sequence[QueueSample], now: datetime
    ) -> dict[str, QueueRate]:
        """In the caller's transaction; nothing when this slot was written already. Returns the rates."""
        rates = self._flow.rates(connection, found, now) if found else {}
        slot = int(now.timestamp() // queue_history.EVERY)
        if found and slot != self._slot:
            queue_history.record(connection, found, now, rates)
            self._slot = slot
        return rates

    def is_due(self, now: datetime) -> bool:
        """True when this slot was not written by this process."""
        return int(now.timestamp() // queue_history.EVERY) != self._slot
