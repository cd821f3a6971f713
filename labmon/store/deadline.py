"""Connections for those behind whom a person waits: each answer of the database has a deadline."""

import time
from collections.abc import Generator
from typing import Any

from psycopg import Connection, OperationalError

from labmon import pg

GRACE = 1.0
"""Seconds after its own deadline in which a server that is alive says so itself."""

CHECK = 2.0
"""Seconds for the answer of a connection that is taken out of the pool."""


class TimelyConnection(Connection[Any]):
    """Gives up a server that takes the statement and never answers: stopped, or its disk hangs.

    TCP does not notice that, since the kernel of such a server still acknowledges every packet; neither does
    the server's own `statement_timeout`. The connection is closed, for its state is not known any more.
    """

    answer_within: float | None = None
    """Seconds; None is for ever."""

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """As psycopg's, with the deadline."""
        if self.answer_within is not None:
            gen = self._timely(gen, self.answer_within)
        return super().wait(gen, *args, **options)

    def _timely(self, gen: Generator[Any, Any, Any], seconds: float) -> Generator[Any, Any, Any]:
        deadline = time.monotonic() + seconds
        wanted = ready = None
        while True:
            try:
                # where nothing is ready, the driver's generators want what they wanted before
                wanted = (next(gen) if wanted is None else gen.send(ready)) or wanted
            except StopIteration as end:
                return end.value
            ready = yield wanted
            # psycopg comes back ten times a second with nothing that is ready
            if not ready and time.monotonic() > deadline:
                self.pgconn.finish()
                raise OperationalError(f"no answer for {seconds:g} seconds")


def connect(url: str, *, name: str, answer_within: float) -> Connection[Any]:
    """A connection outside the pool, each statement of which commits by itself. Raises as `pg.connect`."""
    given = pg.settings(url, name=name, timeout=answer_within)
    connection = TimelyConnection.connect(given, autocommit=True)
    connection.answer_within = answer_within
    try:
        pg.prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def configure(connection: Connection[Any], answer_within: float) -> None:
    """Prepare a new connection, and let both sides keep the deadline. Raises as `pg.prepare`."""
    assert isinstance(connection, TimelyConnection)
    connection.answer_within = CHECK
    pg.prepare(connection)
    milliseconds = f"{1000 * answer_within:.0f}"
    connection.execute("SELECT set_config('statement_timeout', %s, false)", [milliseconds])
    connection.commit()
    connection.answer_within = answer_within + GRACE


def check(connection: Connection[Any]) -> None:
    """Raise OperationalError when it does not answer soon."""
    assert isinstance(connection, TimelyConnection)
    usual, connection.answer_within = connection.answer_within, CHECK
    autocommit, connection.autocommit = connection.autocommit, True
    connection.execute("")
    connection.autocommit = autocommit
    connection.answer_within = usual
