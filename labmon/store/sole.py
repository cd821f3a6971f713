"""Work that one process does for all: whoever holds an advisory lock of the database.

The lock is the connection's. When that is lost, so is the lock, and another process takes over.
"""

import logging
import random
from collections.abc import Callable
from threading import Event
from typing import Any

import psycopg
from psycopg import Connection

from labmon import pg

logger = logging.getLogger(__name__)

RETRY = 5.0
"""Seconds until the lock, or a database that is away, is asked for again."""


def only_one(url: str, work: str, do: Callable[[Connection[Any]], None], stop: Event) -> None:
    """Do `work` while no other process does; `do` gets an autocommit connection and returns when stopped.

    Waits for the lock and for a database that is away until `stop` is set. Raises what `do` raises, except
    for a lost connection: then somebody, perhaps this process, starts `do` anew.
    """
    while not stop.is_set():
        try:
            with pg.connect(url, name=f"labmon {work}", autocommit=True) as connection:
                row = connection.execute(
                    "SELECT pg_try_advisory_lock(hashtext('labmon'), hashtext(%s))", [work]
                ).fetchone()
                if row and row[0]:
                    do(connection)
        except psycopg.Error as error:
            if not pg.is_away(error):
                raise
            logger.warning("%s: %s; trying again", work, pg.one_line(error))
        stop.wait(random.uniform(0.5, 1.0) * RETRY)
