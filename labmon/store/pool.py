"""The way to the database: one `Store` per process, connections handed out by transaction."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
from psycopg import Connection
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from labmon import pg
from labmon.closing import Closing
from labmon.config.tables import DatabaseConfig, StateConfig
from labmon.errors import ConfigError, StoreError, StoreForbidden, StoreRefused, StoreUnavailable
from labmon.store import deadline, migrate
from labmon.store.embedded import Embedded

logger = logging.getLogger(__name__)

_FORBIDDEN = "42501"  # insufficient_privilege

# The pool logs each attempt to connect on several lines, on stderr where logging is off. We log it once.
logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())


class Store(Closing):
    """A pool of connections to the configured database, or to the embedded one where none is configured.

    Opening it connects once, so that a wrong password or an absent server is said at once and exactly.
    `any_schema` skips the check of the schema's version (for `labmon db`). Threads may share it.
    `answer_within` is the deadline, in seconds, of each statement of a transaction; None is for ever.
    Raises ConfigError, StoreUnavailable, StoreRefused, StoreForbidden, SchemaOutOfDate.
    """

    def __init__(
        self,
        database: DatabaseConfig,
        state: StateConfig,
        *,
        any_schema: bool = False,
        answer_within: float | None = None,
    ) -> None:
        self._embedded = None if database.url else Embedded(state.path)
        self.url = self._embedded.url if self._embedded else database.url
        self._pool: ConnectionPool[Connection[Any]] | None = None
        self._is_patient = answer_within is None
        timeout = float(database.connect_timeout)
        try:
            with _translated(self.url), pg.connect(self.url, name="labmon", timeout=timeout) as first:
                if self._embedded:
                    migrate.migrate(first)
                elif not any_schema:
                    migrate.check(first)
            self._pool = ConnectionPool(
                pg.settings(self.url, name="labmon", timeout=timeout),
                min_size=0,
                max_size=database.pool_size,
                timeout=timeout,
                reconnect_timeout=timeout,  # a longer one tries seldom at last, and all wait for that one try
                open=True,
                **_way(answer_within),
            )
        except BaseException:
            self.close()
            raise

    @property
    def is_embedded(self) -> bool:
        """True when labmon itself started the server."""
        return self._embedded is not None

    @contextmanager
    def transaction(self) -> Iterator[Connection[Any]]:
        """A connection in a transaction: committed at the end of the block, rolled back when it raises.

        A server that is away raises StoreUnavailable; one that says no, StoreRefused; what the statements
        themselves got wrong stays a psycopg.Error, since only the caller knows what that means.
        """
        if self._pool is None:
            raise StoreError("the store is closed")
        with (
            _translated(self.url),
            self._with_reason(),
            self._pool.connection() as connection,
            connection.transaction(),
        ):
            yield connection

    @contextmanager
    def _with_reason(self) -> Iterator[None]:
        """Raise what the server says where the pool, which only knows that none came, waited in vain.

        Not for those behind whom a person waits: a server that says nothing would cost them more time.
        """
        try:
            yield
        except PoolTimeout:
            if self._is_patient:
                pg.connect(self.url, name="labmon", timeout=2).close()
            raise

    @contextmanager
    def session(self, name: str, *, answer_within: float | None = None) -> Iterator[Connection[Any]]:
        """A connection outside the pool, each statement of which commits by itself: for locks and to listen.

        `name` is what `pg_stat_activity` shows. `answer_within`: seconds for each answer; None is for ever.
        Raises as `transaction` does.
        """
        called = f"labmon {name}"
        with _translated(self.url):
            if answer_within is None:
                connection = pg.connect(self.url, name=called, autocommit=True)
            else:
                connection = deadline.connect(self.url, name=called, answer_within=answer_within)
            with connection:
                yield connection

    def close(self) -> None:
        """Give the connections back, and stop the embedded server if no other process uses it. Idempotent."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        if self._embedded is not None:
            self._embedded.close()


def _way(answer_within: float | None) -> dict[str, Any]:
    """How the pool makes its connections and looks whether one is still good."""
    if answer_within is None:
        return {"configure": pg.prepare, "check": ConnectionPool.check_connection}
    return {
        "connection_class": deadline.TimelyConnection,
        "configure": partial(deadline.configure, answer_within=answer_within),
        "check": deadline.check,
    }


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except (PoolTimeout, PoolClosed) as error:
        raise StoreUnavailable(
            f"{pg.where(url)}: no connection: {error}. Is it running? See [database] url"
        ) from error
    except psycopg.Error as error:
        said = f"{pg.where(url)}: {pg.one_line(error)}"
        if pg.is_unreadable(error):
            raise ConfigError(f"[database] url (LABMON_DATABASE_URL): {pg.one_line(error)}") from error
        if error.sqlstate == _FORBIDDEN or "permission denied for" in said:
            raise StoreForbidden(f"{said}. {pg.grant(url, said)}") from error
        if pg.is_refusal(error):
            raise StoreRefused(f"{said}. Check [database] url (LABMON_DATABASE_URL)") from error
        if pg.is_away(error):
            step = pg.next_step(error, said)
            raise StoreUnavailable(
                " ".join(filter(None, [f"{said}.", step, "See [database] url"]))
            ) from error
        raise
