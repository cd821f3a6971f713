"""`labmon doctor`: is everything in place?"""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from labmon.cli.output import Column, Format, ago, print_rows
from labmon.cli.wiring import As, QueueHost, load, open_broker, open_store
from labmon.errors import Exit, LabmonError
from labmon.messages import utcnow

if TYPE_CHECKING:
    from labmon.config import Config
    from labmon.store.pool import Store

OK, NOTE, PROBLEM = "ok", "note", "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    check: str
    state: str
    said: str
    exit_code: int = Exit.OK


def doctor(ctx: typer.Context, queue_host: QueueHost = None, form: As = Format.table) -> None:
    """Look at everything labmon needs, and say what is wrong and how to mend it.

    Changes nothing. Exit code 0, or that of the first problem.
    """
    config = load(ctx, {"queue.host": queue_host})
    findings: list[Finding] = []
    with ExitStack() as stack:
        opened: list[Store] = []
        usable: list[Store] = []  # has the tables that the checks below look at

        def database() -> Iterator[Finding]:
            store = stack.enter_context(open_store(config, any_schema=True))
            opened.append(store)
            yield from _database(store)
            usable.append(store)

        checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
            ("database", database),
            ("alerts", lambda: _alerts(usable[0]) if usable else iter(())),
            ("queue", lambda: _queue(config, opened[0] if opened else None)),
            ("workers", lambda: _workers(usable[0]) if usable else iter(())),
            ("spool", lambda: _spool(config)),
            ("scan", lambda: _scan()),
            ("collect", lambda: _collect(config)),
            ("notify", lambda: _notify(config, usable[0] if usable else None)),
        ]
        for name, check in checks:
            try:
                findings += check()
            except LabmonError as error:
                findings.append(Finding(name, PROBLEM, str(error), error.exit_code))
    print_rows(
        [Column("check", "Check"), Column("state", "State"), Column("said", "", gives=True)], findings, form
    )
    raise typer.Exit(next((one.exit_code for one in findings if one.state == PROBLEM), Exit.OK))


def _database(store: "Store") -> Iterator[Finding]:
    from labmon import pg
    from labmon.store import migrate

    with store.transaction() as connection:
        yield Finding("database", OK, f"{'embedded ' if store.is_embedded else ''}{pg.where(store.url)}")
        migrate.check(connection)


def _alerts(store: "Store") -> Iterator[Finding]:
    from labmon.alerts import incidents, tick

    with store.transaction() as connection:
        firing = incidents.standing(connection)
        errors = tick.errors(connection)
        waiting, since = tick.waiting(connection)
    yield Finding("alerts", OK, f"{len(firing)} firing" if firing else "nothing is wrong")
    if since and (utcnow() - since).total_seconds() > 300:
        said = f"{waiting:,} not sent to the queue since {ago(since)}: is labmon consume running?"
        yield Finding("alerts", NOTE, said)
    for place, said, times, last in errors:
        yield Finding(
            "alerts", PROBLEM, f"{place}: {said} ({times:,} times, last {ago(last)} ago)", Exit.STORE
        )


def _queue(config: "Config", store: "Store | None") -> Iterator[Finding]:
    with open_broker(config, store) as broker:
        missing = [queue for queue in config.queue.names if not broker.is_declared(queue)]
        if missing:
            lacks = f"{config.queue.type}: {', '.join(missing)} not there yet"
            yield Finding("queue", NOTE, f"{lacks}. Make them with: labmon setup-queues")
        else:
            depths = {queue: broker.depth(queue) for queue in config.queue.names}
            waiting = sum(depth.ready for depth in depths.values())
            yield Finding("queue", OK, f"{config.queue.type}: {waiting:,} messages waiting")
            for queue, depth in depths.items():
                if depth.dead:
                    said = f"{depth.dead:,} dead letters in {queue}. See: labmon dead-letters list {queue}"
                    yield Finding("queue", NOTE, said)
        for line in broker.advice():
            yield Finding("queue", NOTE, line)


def _workers(store: "Store") -> Iterator[Finding]:
    from labmon.store.workers import recorded

    with store.transaction() as connection:
        rows = recorded(connection)
    alive = {(row.host, row.pid) for row in rows if row.is_alive}
    dead = {(row.host, row.main_pid): row for row in rows if not row.is_alive}
    if alive:
        rate = sum(row.per_second for row in rows if row.is_alive)
        hosts = ", ".join(sorted({host for host, _ in alive}))
        yield Finding("workers", OK, f"{len(alive)} on {hosts}, {rate:,.0f} messages a second")
    else:
        yield Finding("workers", NOTE, "no worker empties the queues. Start them with: labmon consume")
    for row in dead.values():
        said = f"labmon consume on {row.host} (process {row.main_pid}) has not been heard of for"
        yield Finding("workers", NOTE, f"{said} {ago(row.beat_at)}. Was it killed?")


def _spool(config: "Config") -> Iterator[Finding]:
    from labmon.spool import Spool

    found = Spool.of(config).status()
    if found.messages:
        since = f" since {ago(found.oldest_at)}" if found.oldest_at else ""
        yield Finding(
            "spool", NOTE, f"{found.messages:,} messages waiting{since}. Send them: labmon spool flush"
        )
    elif not _may_write(config.state.path):
        said = f"{config.state.path} cannot be written. Choose another place with [state] dir"
        yield Finding("spool", PROBLEM, said, Exit.PERMISSION)
    else:
        yield Finding("spool", OK, "empty")
    dropped = found.dropped_for_room + found.dropped_for_age
    if dropped or found.corrupt:
        yield Finding("spool", NOTE, f"{dropped:,} dropped at its bounds, {found.corrupt:,} corrupt, so far")


def _may_write(folder: Path) -> bool:
    """True when it is there and may be written to, or could be made."""
    nearest = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def _scan() -> Iterator[Finding]:
    from labmon.errors import PermissionNeeded
    from labmon.scan.grant import how_to_grant
    from labmon.scan.icmp import PingSocket

    try:
        with PingSocket():
            yield Finding("scan", OK, "this account may ping")
    except PermissionNeeded:
        yield Finding(
            "scan", NOTE, f"this account may not ping, so scans use TCP alone. To add it: {how_to_grant()}"
        )


def _collect(config: "Config") -> Iterator[Finding]:
    from labmon.collect.access import load_ssh_config
    from labmon.collect.descriptors import OTHERS
    from labmon.collect.login import Logins
    from labmon.collect.ssh_config import Options

    more_keys = load_ssh_config(config.collect).names_keys
    login = Logins.load(config.collect, more_keys=more_keys).of(Options())
    means = [f"{len(login.keys)} keys"] if login.keys else []
    means += ["a password"] if login.password is not None else []
    means += ["keys of the ssh_config for some machines"] if more_keys else []
    yield Finding("collect", OK, f"logs in as {login.user} with {' and '.join(means)}")
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)  # collecting raises the soft one by itself
    needed = config.collect.concurrency + OTHERS
    if 0 <= files < needed:  # RLIM_INFINITY is negative
        few = f"{files} open files are few for [collect] concurrency = {config.collect.concurrency}"
        yield Finding("collect", NOTE, f"{few}: ulimit -n {needed}")


def _notify(config: "Config", store: "Store | None") -> Iterator[Finding]:
    from labmon.alerts.notify import open_sender
    from labmon.store import deliveries

    for target in config.notify.targets:
        open_sender(target, config.notify)
    if not config.notify.targets:
        yield Finding("notify", NOTE, "nobody is told of alerts. Name somebody in [notify] targets")
        return
    names = ", ".join(target.name for target in config.notify.targets)
    yield Finding("notify", OK, f"alerts are told to {names}")
    if all(target.departments or target.labs for target in config.notify.targets):
        said = "nobody is told of a queue or a spool that fills: each target is of some departments or labs"
        yield Finding("notify", NOTE, said)
    if store is None:
        return
    with store.transaction() as connection:
        for one in deliveries.waiting(connection):
            if one.failures:
                said = f"{one.target} cannot be reached since {ago(one.oldest)}"
                yield Finding("notify", NOTE, f"{said}. See: labmon alerts deliveries --state waiting")
        if failed := deliveries.recent(connection, state="failed", limit=1000):
            said = f"{len(failed):,} alerts could not be told"
            yield Finding("notify", NOTE, f"{said}. See: labmon alerts deliveries --state failed")
