"""What has to be done now and then: sum up, pack, drop, and make room for what comes.

`tick` is called by `labmon consume` every minute; `labmon db maintain` is the same from cron. Each step is a
transaction of its own under a lock that is given up at its end, so two at once do no harm and a kill at any
point leaves nothing half done. Packing a day takes many steps, of a second or so, and what has to be summed
up meanwhile is, between them.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Event
from typing import Any

import psycopg
from psycopg import Connection

from labmon import pg
from labmon.config.tables import EventsConfig, RetentionConfig
from labmon.errors import AlreadyRunning, StoreError
from labmon.messages import utcnow
from labmon.store.metrics import pack, partitions, retention, rollup
from labmon.store.pool import Store

logger = logging.getLogger(__name__)

_LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('labmon_housekeeping_step'))"


@dataclass
class Done:
    """What one round did."""

    summed_up: int = 0  #: buckets, of all levels
    packed: list[str] = field(default_factory=list)  #: partitions
    dropped: list[str] = field(default_factory=list)  #: partitions
    forgotten: int = 0  #: rows
    postponed: list[str] = field(default_factory=list)  #: partitions that were in use: next time


def tick(
    store: Store,
    keep: RetentionConfig,
    events: EventsConfig,
    *,
    now: datetime | None = None,
    stop: Event | None = None,
    days: int = 1,
) -> Done:
    """Do what is due, of the packing no more than `days` days; a stop is noticed between two steps.

    Milliseconds when nothing is late; a day of 2,000 machines takes most of a minute to pack. Raises
    StoreError, and AlreadyRunning when somebody else is just at it.
    """
    begun = time.monotonic()
    now = now or utcnow()
    stop = stop or Event()
    done = Done()

    def sum_up() -> None:
        _sum_up(store, keep, now + timedelta(seconds=time.monotonic() - begun), stop, done)

    try:
        with _step(store) as connection:
            partitions.make_ahead(connection, now)
        sum_up()
        _pack(store, keep, now, stop, done, days, sum_up)
        _drop(store, keep, events, now, stop, done)
    except psycopg.Error as error:
        raise StoreError(f"housekeeping: {pg.one_line(error)}") from error
    if done != Done():
        logger.info("housekeeping: %s", done)
    return done


@contextmanager
def _step(store: Store) -> Iterator[Connection[Any]]:
    with store.transaction() as connection:
        row = connection.execute(_LOCK).fetchone()
        if not row or not row[0]:
            raise AlreadyRunning("housekeeping is already running on this database")
        yield connection


def _sum_up(store: Store, keep: RetentionConfig, now: datetime, stop: Event, done: Done) -> None:
    while not stop.is_set():
        with _step(store) as connection:
            written = rollup.roll_up(connection, now, keep_5m=keep.rollup_5m)
        if not written:
            return
        done.summed_up += written


def _pack(
    store: Store,
    keep: RetentionConfig,
    now: datetime,
    stop: Event,
    done: Done,
    days: int,
    between: Callable[[], None],
) -> None:
    after = keep.pack_after
    if not after:
        return
    with _step(store) as connection:
        ripe = pack.ripe(connection, now, after)
    for part in ripe[:days]:
        with _step(store) as connection:
            outstanding = pack.outstanding(connection, part)
        for machines in outstanding:
            if stop.is_set():
                return
            with _step(store) as connection:
                pack.put_aside(connection, part, machines)
            between()
        if stop.is_set():
            return
        with _step(store) as connection:
            packed = pack.swap(connection, part)
        (done.postponed if packed is None else done.packed).append(part.name)
    with _step(store) as connection:
        hollow = pack.hollow(connection, now, after)
    for part in hollow:
        if stop.is_set():
            return
        with _step(store) as connection:
            retention.drop_hollow(connection, part)


def _drop(
    store: Store, keep: RetentionConfig, events: EventsConfig, now: datetime, stop: Event, done: Done
) -> None:
    with _step(store) as connection:
        expired = retention.expired(connection, keep, events, now)
    for part in expired:
        if stop.is_set():
            return
        with _step(store) as connection:
            dropped = retention.drop(connection, part)
        (done.dropped if dropped else done.postponed).append(part.name)
    if not stop.is_set():
        with _step(store) as connection:
            done.forgotten = retention.forget(connection, keep, now)
