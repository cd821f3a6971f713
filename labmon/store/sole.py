"""Work that one process does for all: whoever holds an advisory lock of the database.

The lock is the connection's. When that is lost, so is the lock, and another process takes over.
"""

import logging
import random
from collections.abc import Callable
from threading import Event
from typing import Any

from psycopg import Connection

from labmon.errors import StoreUnavailable
from labmon.store.pool import Store

logger = logging.getLogger(__name__)

RETRY = 5.0
"""Seconds until the lock, or a database that is away, is asked for again."""


def claimed(connection: Connection[Any], work: str) -> bool:
    """True when nobody else does `work`; nobody else will, for as long as the connection lives."""
    row = connection.execute(
        "SELECT pg_try_advisory_lock(hashtext('labmon'), hashtext(%s))", [work]
    ).fetchone()
    return bool(row and row[0])


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
        stop.wait(random.uniform(0.5, 1.0) * RETRY)
