"""What every request and every listener of this server shares."""

from threading import Event

from labmon.consume.background import Task
from labmon.dashboard.context import Context
from labmon.dashboard.live.changes import Changes
from labmon.dashboard.live.hub import Hub
from labmon.dashboard.live.queues import Queues, QueuesReader
from labmon.dashboard.live.recent import Recent
from labmon.dashboard.live.shared import Shared
from labmon.dashboard.live.summary import Summary, summary
from labmon.dashboard.live.systems import Snapshot, SystemsReader
from labmon.store import queue_history

MAX_AGE = 2.0
"""Seconds: nobody is shown anything older, and nothing is read more often."""


class Live:
    """The systems, the queues and the overview as they are now, and the hub that sends what changes."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._reader = QueuesReader(context)
        self.systems: Shared[Snapshot] = Shared(SystemsReader(context), MAX_AGE)
        self.queues: Shared[Queues] = Shared(self._reader, MAX_AGE)
        self.summary: Shared[Summary] = Shared(self._summary, MAX_AGE / 2)
        self.series = Recent(MAX_AGE)
        self.hub = Hub(context.store, lambda: Changes(context, self.systems, self.queues, self.summary))
        context.on_stop.append(self.hub.close)

    def _summary(self) -> Summary:
        return summary(self._context, self.systems.get(), self.queues.get())

    def check_broker(self, patience: float) -> None:
        """Ask the broker whether it is there. Raises BrokerError within its timeout."""
        self._reader.check(patience)

    def touch(self) -> None:
        """Somebody has just changed something: read again at the next question, and tell all listeners."""
        self.systems.expire()
        self.summary.expire()
        self.hub.wake()

    def tasks(self) -> list[Task]:
        """What goes on while the server runs, whether anybody looks or not: the history of the queues."""
        return [Task("queues", queue_history.EVERY / 2, self._look, self.close)]

    def _look(self, _: Event) -> None:
        self.queues.get()

    def close(self) -> None:
        """Close the connection to the broker."""
        self._reader.close()
