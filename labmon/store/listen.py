"""Being woken by the database: NOTIFY as a hint, never as the only word."""

from collections.abc import Callable, Sequence
from threading import Event

from psycopg.sql import SQL, Identifier

from labmon.store.pool import Store

NOTICED = 1.0
"""Seconds within which a stop is noticed."""

ANSWER = 1.5
"""Seconds for each answer: a server without one is away."""


def listen(store: Store, channels: Sequence[str], stop: Event, wake: Callable[[], None]) -> None:
    """Call `wake` when it begins to listen and at each notification, until `stop` is set.

    Several notifications at once may be one call; what was notified while nobody listened is lost.
    A server that stops or hangs is noticed within `NOTICED` and `ANSWER`. Raises StoreError, psycopg.Error.
    """
    with store.session("live", answer_within=ANSWER) as connection:
        for channel in channels:
            connection.execute(SQL("LISTEN {}").format(Identifier(channel)))
        wake()
        while not stop.is_set():
            for _ in connection.notifies(timeout=NOTICED, stop_after=1):
                wake()
            connection.execute("SELECT 1")
