"""Asks the database, the broker and the spool how they are. None of them being away is an error of this."""

import platform
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from labmon import __version__
from labmon.app.open import open_broker, open_spool, open_store
from labmon.app.status.judge import troubles
from labmon.app.status.report import (
    DepartmentStatus,
    FailingSystem,
    LabStatus,
    QueueStatus,
    Report,
    SpoolStatus,
    Versions,
    WorkersStatus,
)
from labmon.errors import BrokerUnavailable, LabmonError, StoreError
from labmon.readable import span

if TYPE_CHECKING:
    from labmon.brokers.base import Depth
    from labmon.config.tables import Config
    from labmon.pg import Connection
    from labmon.store.inventory.states import SystemState, SystemStates
    from labmon.store.pool import Store

_REASONS = """
SELECT system_id, status_error, CASE WHEN gone_since > last_seen THEN gone_since END, last_collected
FROM systems WHERE system_id = ANY(%s)
"""


class StatusReader:
    """Reads it again and again over the same connection, which is opened anew where it was lost."""

    def __init__(self, config: "Config") -> None:
        self._config = config
        self._stack = ExitStack()
        self._store: Store | None = None
        self._states: SystemStates | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def read(self) -> Report:
        """Everything, judged. Waits at most `[database] connect_timeout` for each."""
        from labmon.messages import utcnow

        queue = self._config.queue
        report = Report(
            utcnow(),
            Versions(
                __version__,
                platform.python_version(),
                None,
                None,
                "in the database" if queue.in_store else queue.type,
            ),
            self._place(),
            broker=f"{queue.type} in the database" if queue.in_store else f"{queue.type} at {queue.host}",
            queue_enabled=queue.enabled,
        )
        asking = None if queue.in_store else self._ask_broker(None)
        try:
            self._read_store(report)
        except StoreError as error:
            report.database_error = str(error)
            self._forget_store()
        if report.database_error and queue.in_store:
            report.queue_error = "the queues are in the database"
        else:
            self._read_queues(report, asking or self._ask_broker(self._store))
        self._read_spool(report)
        report.troubles = troubles(report)
        return report

    def _place(self) -> str:
        if not self._config.database.url:
            return f"embedded, in {self._config.state.folder}"
        from labmon import pg

        return pg.where(self._config.database.url)

    def _forget_store(self) -> None:
        self._stack.close()
        self._store = None

    def _read_store(self, report: Report) -> None:
        """What the database knows. Raises StoreError, and has then changed nothing that matters."""
        if self._store is None:
            timeout = float(self._config.database.connect_timeout)
            self._store = self._stack.enter_context(open_store(self._config, answer_within=timeout))
        with self._store.transaction() as connection:
            self._read_systems(connection, report)
            self._read_rest(connection, report)

    def _read_systems(self, connection: "Connection[Any]", report: Report) -> None:
        from labmon.store.inventory import departments, scans
        from labmon.store.inventory.states import SystemStates
        from labmon.store.metrics.latest import usual_gap

        self._states = self._states or SystemStates(only_status=True)
        systems = self._states.read(connection, report.now)
        down = {one.system_id: one for one in systems if one.state == "down"}
        why = {row[0]: row[1:] for row in connection.execute(_REASONS, [list(down)])} if down else {}
        failing = [_failing(one, *why.get(number, (None, None, None))) for number, one in down.items()]
        report.failing = sorted(failing, key=lambda one: one.since or report.now, reverse=True)
        report.systems = len(systems)
        report.by_status = dict(Counter(one.status for one in systems).most_common())
        report.labs = _labs(systems)
        scanned = scans.newest(connection)
        names = {one.dept_id: one.name or one.code for one in departments.departments(connection)}
        report.departments = [
            _department(number, name, [one for one in systems if one.dept_id == number], scanned.get(number))
            for number, name in names.items()
        ]
        measured = [one for one in systems if one.last_collected and one.last_collected <= report.now]
        if measured:
            newest = max(measured, key=lambda one: one.last_collected or report.now)
            report.newest_reading_at = newest.last_collected
            gap = usual_gap(connection, newest.system_id)
            report.usual_gap_seconds = gap.total_seconds() if gap else None
            report.reading_due = any(one.state in ("up", "down") for one in measured)

    def _read_rest(self, connection: "Connection[Any]", report: Report) -> None:
        from labmon.alerts import deliveries, incidents
        from labmon.store import workers

        report.alerts = incidents.standing(connection)
        report.unreached = {one.target: one.oldest for one in deliveries.waiting(connection) if one.failures}
        report.workers = _workers(workers.recorded(connection))
        server = connection.info.server_version
        row = connection.execute("SELECT max(version) FROM labmon_schema").fetchone()
        version = f"PostgreSQL {server // 10000}.{server % 10000}"
        report.versions = replace(report.versions, database=version, schema=row[0] if row else None)

    def _ask_broker(self, store: "Store | None") -> "_Asked":
        asked = _Asked(self._config, store)
        asked.thread.start()
        return asked

    def _read_queues(self, report: Report, asked: "_Asked") -> None:
        from labmon.consume.backlog import level

        try:
            depths = asked.depths()
        except LabmonError as error:
            report.queue_error = str(error)
            return
        report.versions = replace(report.versions, broker=asked.version or report.versions.broker)
        report.queues = [
            QueueStatus(
                *(queue, depth.ready, depth.dead, depth.consumers, depth.oldest_age_seconds),
                level=level(depth, self._config.queue).name,
            )
            for queue, depth in depths.items()
        ]

    def _read_spool(self, report: Report) -> None:
        from labmon.sinks.spool.spool import SpoolError

        try:
            found = open_spool(self._config).status()
        except SpoolError as error:
            report.spool_error = str(error)
        else:
            report.spool = SpoolStatus(found.messages, found.bytes, found.max_bytes, found.oldest_at)


class _Asked:
    """Asks the broker in a thread, a daemon, so that one which never answers keeps nobody waiting."""

    def __init__(self, config: "Config", store: "Store | None") -> None:
        self._config, self._store = config, store
        self._found: dict[str, Depth] = {}
        self._error: LabmonError | None = None
        self._until = time.monotonic() + float(config.database.connect_timeout)
        self.version = ""  #: of the server, once it has answered
        self.thread = threading.Thread(target=self._ask, name="labmon broker", daemon=True)

    def _ask(self) -> None:
        try:
            with open_broker(self._config, self._store) as broker:
                if not self._config.queue.in_store:
                    self.version = broker.server_version()
                for queue in self._config.queue.names:
                    self._found[queue] = broker.depth(queue)
        except LabmonError as error:
            self._error = error

    def depths(self) -> "Mapping[str, Depth]":
        """Each queue. Raises what the broker raised, and BrokerUnavailable when it takes too long."""
        self.thread.join(max(0.1, self._until - time.monotonic()))
        if self.thread.is_alive():
            queue = self._config.queue
            raise BrokerUnavailable(
                f"{queue.type} at {queue.host or 'this machine'}: no answer within "
                f"{span(float(self._config.database.connect_timeout))}. "
                "Is it reachable? See [queue] host"
            )
        if self._error is not None:
            raise self._error
        return self._found


def _failing(
    one: "SystemState", error: str | None, gone_since: datetime | None, last_collected: datetime | None
) -> FailingSystem:
    from labmon.store.inventory.states import DOWN

    if one.status in DOWN:
        since, reason = one.status_since, error or ""
    elif gone_since:
        since, reason = gone_since, "the last scan of its address did not find it"
    else:
        since, reason = last_collected, "not measured since then, though it is due"
    return FailingSystem(one.system_id, one.ip_address, one.hostname, one.lab, one.status, since, reason)


def _labs(systems: "Iterable[SystemState]") -> list[LabStatus]:
    """Those with the most failing systems first, then by name."""
    within: dict[tuple[int, int | None, str | None], list[SystemState]] = {}
    for one in systems:
        within.setdefault((one.dept_id, one.lab_id, one.lab), []).append(one)
    labs = [
        LabStatus(
            *key,
            systems=len(those),
            failing=sum(one.state == "down" for one in those),
            by_status=dict(Counter(one.status for one in those).most_common()),
        )
        for key, those in within.items()
    ]
    return sorted(labs, key=lambda one: (-one.failing, one.lab is None, one.lab or "", one.dept_id))


def _department(number: int, name: str | None, systems: "list[SystemState]", scan: Any) -> DepartmentStatus:
    return DepartmentStatus(
        number,
        name,
        len(systems),
        sum(one.state == "down" for one in systems),
        scan.started_at if scan else None,
        scan.status if scan else None,
        scan.systems_found if scan else None,
        max((one.last_collected for one in systems if one.last_collected), default=None),
    )


def _workers(rows: Iterable[Any]) -> WorkersStatus:
    rows = list(rows)
    alive = [one for one in rows if one.is_alive]
    processes = {(one.host, one.main_pid, one.number) for one in alive}
    dead = {(one.host, one.main_pid, one.number) for one in rows if not one.is_alive}
    hosts = sorted({one.host for one in alive})
    return WorkersStatus(len(processes), len(dead), hosts, sum(one.per_second for one in alive))
