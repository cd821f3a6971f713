"""What labmon needs, checked one after the other: each check yields what it found, good or bad."""

import resource
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labmon import files
from labmon.app.open import open_broker, open_spool, open_store
from labmon.errors import Exit, LabmonError, PermissionNeeded
from labmon.messages import utcnow
from labmon.readable import ago, plural, span

if TYPE_CHECKING:
    from labmon.brokers.base import Depth
    from labmon.config.tables import CollectConfig, Config, NotifyConfig, QueueConfig, StateConfig
    from labmon.pg import Connection
    from labmon.store.pool import Store

OK, NOTE, PROBLEM = "ok", "note", "problem"

SKEW_NOTE, SKEW_PROBLEM = 10.0, 300.0
"""Seconds between this machine's clock and the database's. From five minutes on measurements are misdated."""

UNPUBLISHED = 300.0
"""Seconds for which alerts may wait in the outbox while workers are restarted."""

SPOOL_FULL = 0.9
"""Of its maximum size: the next long outage drops messages."""


@dataclass(frozen=True)
class Finding:
    """One thing that was checked. `exit_code` is that of a problem."""

    check: str
    state: str
    said: str
    exit_code: int = Exit.OK


def examine(config: "Config") -> list[Finding]:
    """Check everything; nothing is changed. An error in a check is a finding, and ends only that check."""
    findings: list[Finding] = []
    depths: dict[str, Depth] = {}
    refused: list[str] = []
    with ExitStack() as stack:
        opened: list[Store] = []
        usable: list[Store] = []  # has the tables that the other checks read

        def database() -> Iterator[Finding]:
            store = stack.enter_context(open_store(config, any_schema=True))
            opened.append(store)
            yield from _database(store)
            usable.append(store)

        checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
            ("state", lambda: _state(config.state)),
            ("database", database),
            ("alerts", lambda: _alerts(usable[0]) if usable else iter(())),
            ("queue", lambda: _queue(config, opened[0] if opened else None, depths, refused)),
            (
                "workers",
                lambda: _workers(usable[0], config.queue, {} if refused else depths) if usable else iter(()),
            ),
            ("spool", lambda: _spool(config)),
            ("scan", lambda: _scan()),
            ("collect", lambda: _collect(config.collect, config.state)),
            ("notify", lambda: _notify(config.notify, usable[0] if usable else None)),
        ]
        for name, check in checks:
            try:
                findings += check()
            except LabmonError as error:
                findings.append(Finding(name, PROBLEM, str(error), error.exit_code))
    return findings


def _state(settings: "StateConfig") -> Iterator[Finding]:
    folder = settings.path
    if trouble := files.trouble(folder):
        text = f"{folder}: {trouble}. Make room or mend its permissions, or choose another [state] dir"
        yield Finding("state", PROBLEM, text, Exit.PERMISSION)
    else:
        reason = f" ({settings.reason}; choose another with [state] dir)" if settings.reason else ""
        yield Finding("state", OK, f"{folder}{reason}")


def _database(store: "Store") -> Iterator[Finding]:
    from labmon import pg
    from labmon.store import migrate

    with store.transaction() as connection:
        version = connection.info.server_version
        server = f"PostgreSQL {version // 10000}.{version % 10000}"
        kind = "embedded " if store.is_embedded else ""
        yield Finding("database", OK, f"{kind}{pg.where(store.url)} ({server})")
        if problem := migrate.encoding_problem(connection):
            yield Finding("database", PROBLEM, problem, Exit.STORE)
        yield from _read_only(connection)
        yield from _clock(connection)
        migrate.check(connection)


def _read_only(connection: "Connection[Any]") -> Iterator[Finding]:
    row = connection.execute(
        "SELECT current_setting('transaction_read_only') = 'on', pg_is_in_recovery()"
    ).fetchone()
    if row and row[0]:
        why = "it is a standby" if row[1] else "default_transaction_read_only is on"
        text = f"read-only, nothing can be stored: {why}. Use a writable server in [database] url"
        yield Finding("database", PROBLEM, text, Exit.STORE)


def _clock(connection: "Connection[Any]") -> Iterator[Finding]:
    before = utcnow()
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    skew = (before + (utcnow() - before) / 2 - row[0]).total_seconds() if row else 0.0
    if abs(skew) >= SKEW_NOTE:
        text = (
            f"this machine's clock is {span(abs(skew))} {'ahead of' if skew > 0 else 'behind'} the database's"
        )
        bad = abs(skew) >= SKEW_PROBLEM
        mend = "Synchronize both with NTP: messages from the future are refused, and times are wrong"
        yield Finding("clock", PROBLEM if bad else NOTE, f"{text}. {mend}", Exit.STORE if bad else Exit.OK)


def _alerts(store: "Store") -> Iterator[Finding]:
    from labmon.alerts import evaluate, incidents

    with store.transaction() as connection:
        firing = [one.severity for one in incidents.standing(connection)]
        errors = evaluate.errors(connection)
        waiting, since = evaluate.waiting(connection)
    if firing:
        kinds = [(one, firing.count(one)) for one in ("critical", "warning", "info")]
        counts = ", ".join(f"{number} {one}" for one, number in kinds if number)
        critical = "critical" in firing
        yield Finding(
            "alerts",
            PROBLEM if critical else NOTE,
            f"{len(firing)} firing: {counts}. See: labmon alerts list",
            Exit.SOME_FAILED if critical else Exit.OK,
        )
    else:
        yield Finding("alerts", OK, "nothing is wrong")
    if since and (utcnow() - since).total_seconds() > UNPUBLISHED:
        text = f"{waiting:,} not published to the queue since {ago(since)}. Start labmon consume"
        yield Finding("alerts", PROBLEM, text, Exit.SOME_FAILED)
    for place, text, times, last in errors:
        detail = f"{place}: {text} ({plural(times, 'time')}, last {ago(last)} ago)"
        yield Finding("alerts", PROBLEM, detail, Exit.STORE)


def _queue(
    config: "Config", store: "Store | None", depths: "dict[str, Depth]", refused: list[str]
) -> Iterator[Finding]:
    """Fills `depths` for the check of the workers, and `refused` where the server takes no messages: then
    workers have no consumers there either."""
    settings = config.queue
    with open_broker(config, store) as broker:
        missing = [queue for queue in settings.names if not broker.is_declared(queue)]
        if missing:
            text = f"{settings.type}: {', '.join(missing)} missing. Make them with: labmon setup-queues"
            yield Finding("queue", NOTE, text)
        else:
            depths |= {queue: broker.depth(queue) for queue in settings.names}
            if refusal := broker.first_refusal(settings.names):
                refused.append(str(refusal))
                yield Finding("queue", PROBLEM, f"takes no messages: {refusal}", refusal.exit_code)
            yield from _depths(settings, depths)
        for line in broker.advice():
            yield Finding("queue", NOTE, line)


def _depths(settings: "QueueConfig", depths: "Mapping[str, Depth]") -> Iterator[Finding]:
    waiting = sum(depth.ready for depth in depths.values())
    over = [queue for queue, depth in depths.items() if depth.ready > settings.depth_critical]
    text = f"{settings.type}: {plural(waiting, 'message')} waiting"
    if over:
        text += f"; over [queue] depth_critical: {', '.join(over)}. Add workers: labmon consume --workers N"
        yield Finding("queue", PROBLEM, text, Exit.BROKER)
    else:
        yield Finding("queue", OK, text)
    for queue, depth in depths.items():
        if depth.dead:
            text = f"{plural(depth.dead, 'dead letter')} in {queue}. See: labmon dead-letters list {queue}"
            yield Finding("queue", NOTE, text)


def _workers(store: "Store", settings: "QueueConfig", depths: "Mapping[str, Depth]") -> Iterator[Finding]:
    from labmon.store.workers import recorded

    with store.transaction() as connection:
        rows = recorded(connection)
    alive = {(row.host, row.pid) for row in rows if row.is_alive}
    served = {row.queue for row in rows if row.is_alive}
    unserved = sorted(queue for queue in served & set(depths) if depths[queue].consumers == 0)
    hosts = ", ".join(sorted({host for host, _ in alive}))
    if not alive:
        yield Finding("workers", NOTE, "no worker is running. Start one with: labmon consume")
    elif unserved:
        text = (
            f"{len(alive)} on {hosts}, but none serves this broker ({settings.type}): no consumer of "
            f"{', '.join(unserved)}. Compare [queue] there and here"
        )
        yield Finding("workers", PROBLEM, text, Exit.BROKER)
    else:
        rate = sum(row.per_second for row in rows if row.is_alive)
        yield Finding("workers", OK, f"{len(alive)} on {hosts}, {rate:,.0f} messages a second")
    for row in {(row.host, row.main_pid): row for row in rows if not row.is_alive}.values():
        text = (
            f"labmon consume on {row.host} (process {row.main_pid}) sent no heartbeat for {ago(row.beat_at)}"
        )
        yield Finding("workers", NOTE, f"{text}. Was it killed?")


def _spool(config: "Config") -> Iterator[Finding]:
    found = open_spool(config).status()
    full = found.messages and found.max_bytes and found.bytes >= SPOOL_FULL * found.max_bytes
    if found.messages:
        since = f" since {ago(found.oldest_at)}" if found.oldest_at else ""
        text = f"{plural(found.messages, 'message')} waiting{since}"
        if full:
            share = 100 * found.bytes / found.max_bytes
            text += f", {share:.0f} % of [spool] max_bytes: the oldest are dropped next"
        state, code = (PROBLEM, Exit.BROKER) if full else (NOTE, Exit.OK)
        yield Finding("spool", state, f"{text}. Send them: labmon spool flush", code)
    elif trouble := files.trouble(config.state.path):
        text = f"{config.state.path}: {trouble}, so nothing can be kept"
        yield Finding("spool", PROBLEM, text, Exit.PERMISSION)
    else:
        yield Finding("spool", OK, "empty")
    dropped = found.dropped_for_room + found.dropped_for_age
    if dropped or found.corrupt:
        last = f", last {ago(found.last_dropped_at)} ago" if found.last_dropped_at else ""
        text = f"{dropped:,} dropped at its limits{last}, {found.corrupt:,} corrupt, so far"
        yield Finding("spool", NOTE, text)


def _scan() -> Iterator[Finding]:
    from labmon.scan.methods.ping import PingSocket
    from labmon.scan.permissions import how_to_grant

    try:
        with PingSocket():
            yield Finding("scan", OK, "this account may ping")
    except PermissionNeeded:
        text = f"this account may not ping, so scans use TCP only. To permit it: {how_to_grant()}"
        yield Finding("scan", NOTE, text)


def _collect(settings: "CollectConfig", state: "StateConfig") -> Iterator[Finding]:
    from labmon.collect.hostkeys.policy import check_file
    from labmon.collect.pool.descriptors import RESERVED
    from labmon.collect.ssh.config import HostOptions
    from labmon.collect.ssh.connector import load_ssh_config
    from labmon.collect.ssh.login import Logins

    if settings.host_keys != "off":
        check_file(state.path)
    more_keys = load_ssh_config(settings).names_keys
    login = Logins.load(settings, more_keys=more_keys).of(HostOptions())
    means = [plural(len(login.keys), "key")] if login.keys else []
    means += ["a password"] if login.password is not None else []
    means += ["keys of the ssh_config for some machines"] if more_keys else []
    yield Finding("collect", OK, f"logs in as {login.user} with {' and '.join(means)}")
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)  # collecting raises the soft limit by itself
    needed = settings.concurrency + RESERVED
    if 0 <= files < needed:  # RLIM_INFINITY is negative
        text = f"{files} open files are too few for [collect] concurrency = {settings.concurrency}"
        yield Finding("collect", NOTE, f"{text}: ulimit -n {needed}")


def _notify(settings: "NotifyConfig", store: "Store | None") -> Iterator[Finding]:
    from labmon.alerts.notify.notifier import open_sender

    for target in settings.targets:
        open_sender(target, settings)
    if not settings.targets:
        yield Finding("notify", NOTE, "no one is notified of alerts. Add a target to [notify] targets")
        return
    names = ", ".join(target.name for target in settings.targets)
    failing = list(_failing(store)) if store else []
    yield Finding("notify", OK, f"alerts are sent to {names}") if not failing else failing.pop(0)
    yield from failing
    if all(target.departments or target.labs for target in settings.targets):
        text = (
            "no target receives alerts about a queue or a spool that fills: "
            "each target is limited to departments or labs"
        )
        yield Finding("notify", NOTE, text)


def _failing(store: "Store") -> Iterator[Finding]:
    """Targets that cannot be reached, and alerts that were given up."""
    from labmon.alerts import deliveries

    with store.transaction() as connection:
        for one in deliveries.waiting(connection):
            if one.failures:
                text = f"{one.target} has not been reached for {ago(one.oldest)}"
                see = "See: labmon alerts deliveries --state waiting"
                yield Finding("notify", PROBLEM, f"{text}. {see}", Exit.SOME_FAILED)
        if failed := deliveries.recent(connection, state="failed", limit=1000):
            text = f"{plural(len(failed), 'notification')} failed for good"
            see = "See: labmon alerts deliveries --state failed"
            yield Finding("notify", PROBLEM, f"{text}. {see}", Exit.SOME_FAILED)
