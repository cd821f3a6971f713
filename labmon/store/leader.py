"""Work that one process does for all: the leader, which holds an advisory lock of the database.

The lock is the connection's. When that is lost, so is the lock, and another process takes over.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from threading import Event
from typing import Any

from psycopg import Connection, Error

from labmon import backoff
from labmon.errors import StoreUnavailable
from labmon.store.pool import Store

logger = logging.getLogger(__name__)

RETRY = 5.0
"""Seconds until the lock, or a database that is away, is asked for again."""


def claimed(connection: Connection[Any], work: str) -> bool:
    """True when no other process does `work`; none will until it is released or the connection ends."""
    row = connection.execute(
        "SELECT pg_try_advisory_lock(hashtext('labmon'), hashtext(%s))", [work]
    ).fetchone()
    return bool(row and row[0])


def release(connection: Connection[Any], work: str) -> None:
    """Let the next process do `work` at once: a server notices late that a client has gone."""
    with suppress(Error):
        connection.execute("SELECT pg_advisory_unlock(hashtext('labmon'), hashtext(%s))", [work])


def only_one(store: Store, work: str, do: Callable[[Connection[Any]], None], stop: Event) -> None:
    """Do `work` while no other process does; `do` gets a session and returns when stopped.

    Waits for the lock, and for a database that is away, until `stop` is set. Raises what `do` raises, except
    for a lost connection: then somebody, perhaps this process, starts `do` anew.
    """
    while not stop.is_set():
        try:
            with store.session(work) as connection:
                if claimed(connection, work):
                    do(connection)
        except StoreUnavailable as error:
            logger.info("%s: %s; trying again", work, error)
        stop.wait(backoff.delay(1, first=RETRY))
