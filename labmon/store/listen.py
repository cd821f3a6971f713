"""Being woken by the database: NOTIFY as a hint, never as the only word."""

from collections.abc import Callable, Sequence
from threading import Event

from psycopg.sql import SQL, Identifier

from labmon.store.pool import Store

NOTICED = 1.0
"""Seconds within which a stop is noticed."""


def listen(store: Store, channels: Sequence[str], stop: Event, wake: Callable[[], None]) -> None:
    """Call `wake` at each notification until `stop` is set. Raises StoreError and psycopg.Error.

    Several notifications at once may be one call; what was notified while nobody listened is lost.
    """
    with store.session("live") as connection:
        for channel in channels:
            connection.execute(SQL("LISTEN {}").format(Identifier(channel)))
        while not stop.is_set():
            for _ in connection.notifies(timeout=NOTICED, stop_after=1):
                wake()
