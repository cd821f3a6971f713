"""`labmon consume`: the workers and what runs beside them, put together once."""

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from labmon.alerts.evaluate import EVERY
from labmon.app.heartbeat import HeartbeatUrl
from labmon.brokers import open_broker
from labmon.consume.alert_evaluator import AlertEvaluator
from labmon.consume.background import BackgroundTasks, Task
from labmon.consume.queue_depths import QueueDepths
from labmon.consume.queue_record import QueueRecord, samples
from labmon.consume.supervisor.heartbeat import WorkerSettings
from labmon.consume.supervisor.supervisor import Supervisor
from labmon.consume.worker_stats import ProcessInfo, WorkerStats
from labmon.consume.worker_threads import WorkerThreads
from labmon.errors import AlreadyRunning
from labmon.messages import utcnow
from labmon.readable import plural
from labmon.sinks.spool.spool import Spool
from labmon.store import housekeeping
from labmon.store.pool import Store
from labmon.systemd import notify, watchdog

STATS_INTERVAL = 2.0
"""Seconds between two updates of the table `workers`."""

DEPTHS_INTERVAL = 2.0
"""Seconds between two questions for the depth of the queues."""

HOUSEKEEPING_INTERVAL = 60.0
"""Seconds between two rounds of housekeeping. Several processes take turns by its lock."""

HEARTBEAT_INTERVAL = 60.0
"""Seconds between two requests of the heartbeat."""

RESTART_INTERVAL = 30.0
"""Seconds until a task that should have run until the end, and did not, is begun anew."""


class Workers(Protocol):
    """The workers: threads of this process, or processes of their own."""

    def run(self, on_tick: Callable[[], None]) -> None:
        """Work until done or stopped; `on_tick` is called a few times a second. Raises LabmonError."""

    def processes(self) -> list[ProcessInfo]:
        """The processes as they are at this moment."""

    def tally(self) -> dict[str, tuple[int, int]]:
        """How many messages were stored and how many rejected, by queue."""


@dataclass
class Team:
    """The workers, and what became of the notifications."""

    workers: Workers
    unsent: int = 0  #: alerts that targets were not notified of at the end of a run with `until_empty`


@contextmanager
def workers(
    settings: WorkerSettings,
    spool: Spool,
    store: Store,
    queues: Sequence[str],
    stop: threading.Event,
    *,
    until_empty: bool = False,
    heartbeat: HeartbeatUrl | None = None,
) -> Iterator[Team]:
    """The workers of these queues, with what runs beside them for as long as the block lasts.

    The process that serves the alert queue also evaluates the alert rules; with `until_empty` once, at the
    end. After that it requests the heartbeat.
    """
    ingest = settings.ingest
    depths = QueueDepths(ingest.queue.names, partial(open_broker, ingest.queue, store_url=store.url))
    record = QueueRecord()

    def look(_: threading.Event) -> None:
        depths.refresh()
        if record.is_due(now := utcnow()):
            with store.transaction() as connection:
                record.write(connection, samples(depths.known), now)

    tasks = [Task("depths", DEPTHS_INTERVAL, look, depths.close)]
    made: WorkerThreads | Supervisor
    if ingest.consume.workers.most > 1 or ingest.consume.max_memory:
        made = Supervisor(settings, queues, stop, lambda: depths.known, until_empty=until_empty)
    else:
        made = WorkerThreads.of(ingest, queues, store, stop, until_empty=until_empty)
    stats = WorkerStats()
    tasks.append(
        Task(
            "workers",
            STATS_INTERVAL,
            lambda _: stats.write(store, made.processes()),
            partial(stats.write, store, []),  # a process that ends as it should leaves no row
        )
    )

    def keep_house(stop: threading.Event) -> None:
        with suppress(AlreadyRunning):
            housekeeping.tick(store, ingest.retention, ingest.events, stop=stop)

    tasks.append(Task("housekeeping", HOUSEKEEPING_INTERVAL, keep_house))
    evaluator = None
    if ingest.queue.alert_queue in queues:
        evaluator = AlertEvaluator(ingest, store, lambda: dict(depths.known), spool)
        if not until_empty:
            tasks += _alert_tasks(evaluator, heartbeat, lambda: bool(depths.known))
    team = Team(made)
    with BackgroundTasks(tasks):
        yield team
        if evaluator and until_empty and not stop.is_set():
            team.unsent = evaluator.run_once(stop)
            if heartbeat:
                heartbeat.request()


def shortfall(team: Team) -> str:
    """What this run did not do, and where to look; "" when it did everything."""
    dead = {queue: rejected for queue, (_, rejected) in team.workers.tally().items() if rejected}
    wrong = []
    if dead:
        total = plural(sum(dead.values()), "message")
        wrong.append(f"{total} to the dead letters. See: labmon dead-letters list {next(iter(dead))}")
    if team.unsent:
        wrong.append(f"{plural(team.unsent, 'alert')} not notified. See: labmon alerts deliveries")
    return "; ".join(wrong)


def run(made: Workers, stop: threading.Event, draw: Callable[[], None]) -> None:
    """Work until the end, calling `draw` a few times a second, and keep systemd informed.

    Raises LabmonError.
    """
    interval = watchdog()
    notified, stopping = 0.0, False

    def on_tick() -> None:
        nonlocal notified, stopping
        if interval and time.monotonic() - notified >= interval / 3:
            notified = time.monotonic()
            notify("WATCHDOG=1")
        if stop.is_set() and not stopping:
            stopping = True
            notify("STOPPING=1")
        draw()

    notify("READY=1")
    made.run(on_tick)


def _alert_tasks(
    evaluator: AlertEvaluator, heartbeat: HeartbeatUrl | None, queue_answers: Callable[[], bool]
) -> list[Task]:
    requested = -math.inf

    def evaluate(_: threading.Event) -> None:
        nonlocal requested
        evaluator.evaluate()
        if heartbeat and queue_answers() and time.monotonic() >= requested + HEARTBEAT_INTERVAL:
            requested = time.monotonic()
            heartbeat.request_soon()

    return [
        Task("alerts", EVERY, evaluate),
        Task("publish alerts", RESTART_INTERVAL, evaluator.publish),
        Task("notify", RESTART_INTERVAL, evaluator.notify),
    ]
