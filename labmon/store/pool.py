"""The way to the database: one `Store` per process, connections handed out by transaction."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import Connection
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from labmon import pg
from labmon.config import Config
from labmon.errors import StoreError, StoreRefused, StoreUnavailable
from labmon.store import migrate
from labmon.store.embedded import Embedded

logger = logging.getLogger(__name__)

# The pool tells of each try to connect on several lines, on stderr where nobody listens. We say it once.
logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())


class Store:
    """A pool of connections to the configured database, or to the embedded one where none is configured.

    Opening it connects once, so that a wrong password or an absent server is said at once and exactly.
    `any_schema` skips the check of the schema's version (for `labmon db`). Threads may share it.
    Raises StoreUnavailable, StoreRefused, SchemaOutOfDate.
    """

    def __init__(self, config: Config, *, any_schema: bool = False) -> None:
        self._embedded = None if config.database.url else Embedded(config.state.path)
        self.url = self._embedded.url if self._embedded else config.database.url
        self._pool: ConnectionPool[Connection[Any]] | None = None
        timeout = float(config.database.connect_timeout)
        try:
            with _translated(self.url), pg.connect(self.url, name="labmon", timeout=timeout) as first:
                if self._embedded:
                    migrate.migrate(first)
                elif not any_schema:
                    migrate.check(first)
            self._pool = ConnectionPool(
                pg.settings(self.url, name="labmon", timeout=timeout),
                min_size=0,
                max_size=config.database.pool_size,
                timeout=timeout,
                check=ConnectionPool.check_connection,
                open=True,
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
        with _translated(self.url), self._pool.connection() as connection, connection.transaction():
            yield connection

    @contextmanager
    def session(self, name: str) -> Iterator[Connection[Any]]:
        """A connection outside the pool, each statement of which commits by itself: for locks and to listen.

        `name` is what `pg_stat_activity` shows. Raises as `transaction` does.
        """
        with (
            _translated(self.url),
            pg.connect(self.url, name=f"labmon {name}", autocommit=True) as connection,
        ):
            yield connection

    def close(self) -> None:
        """Give the connections back, and stop the embedded server if nobody else uses it. Idempotent."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        if self._embedded is not None:
            self._embedded.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except (PoolTimeout, PoolClosed) as error:
        raise StoreUnavailable(
            f"{pg.where(url)}: no connection: {error}. Is it running? See [database] url"
        ) from error
    except psycopg.Error as error:
        if pg.is_refusal(error):
            raise StoreRefused(
                f"{pg.where(url)}: {pg.one_line(error)}. Check [database] url (LABMON_DATABASE_URL)"
            ) from error
        if pg.is_away(error):
            hint = "" if error.sqlstate else " Is it running?"
            raise StoreUnavailable(
                f"{pg.where(url)}: {pg.one_line(error)}.{hint} See [database] url"
            ) from error
        raise
