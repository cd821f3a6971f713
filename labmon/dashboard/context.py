"""What routes are given: the store, the queues, the configuration, a clock."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request

from labmon import pg
from labmon.app.open import open_broker
from labmon.config.tables import Config
from labmon.dashboard.asking import Asking, NoAnswer
from labmon.dashboard.security.limiter import LoginLimiter
from labmon.dashboard.security.local import is_own
from labmon.dashboard.security.turns import Turns
from labmon.errors import StoreUnavailable
from labmon.store.pool import Store

if TYPE_CHECKING:
    from labmon.brokers.base import Broker
    from labmon.pg import Connection

PATIENCE = 5.0
"""Seconds for the answer to each statement. Then everything says that the database is away."""

READY = 0.8
"""Seconds for the answer to whether the database is there: who watches us waits for a second."""

RETRY_AFTER = 1.0
"""Seconds until a database that is away is asked again."""


def utc_now() -> datetime:
    """The clock of this machine."""
    return datetime.now(UTC)


@dataclass
class Context:
    """One for each server; threads share it."""

    config: Config
    store: Store
    now: Callable[[], datetime] = utc_now
    on_stop: list[Callable[[], None]] = field(default_factory=list)
    """Called in the event loop when the server begins to stop, to end the open responses."""
    live: Any = None
    """The hub of `live`, set by `create_app`."""
    limiter: LoginLimiter = field(default_factory=LoginLimiter)
    turns: Turns = field(default_factory=Turns)
    is_own: Callable[[MutableMapping[str, Any]], bool] = is_own
    """Whether the connection of an ASGI scope is from the account that started the dashboard."""
    local_csrf: str = field(default_factory=secrets.token_urlsafe)
    """The CSRF token of requests from this machine while no user exists."""
    _away: str = ""
    _retry_at: float = 0.0
    _probe: threading.Lock = field(default_factory=threading.Lock)
    _asking: Asking[None] = field(init=False)

    def __post_init__(self) -> None:
        self._asking = Asking("ready", self._ask)

    @contextmanager
    def transaction(self) -> "Iterator[Connection[Any]]":
        """A connection, as `Store.transaction` gives it. Raises as that does.

        While the database is away, one request a second waits for it. All others are told at once: else
        they would hold every thread, and the pages that need no database.
        """
        probing = False
        if self._away:
            probing = time.monotonic() >= self._retry_at and self._probe.acquire(blocking=False)
            if not probing:
                raise StoreUnavailable(self._away)
        is_here = False
        try:
            with self.store.transaction() as connection:
                is_here, self._away = True, ""
                yield connection
        except StoreUnavailable as error:
            if not is_here:  # what comes later may concern this transaction alone: a deadlock, a lock
                self._away, self._retry_at = str(error), time.monotonic() + RETRY_AFTER
            raise
        finally:
            if probing:
                self._probe.release()

    def check(self) -> None:
        """Ask whether the database is there. Raises StoreError within `READY` seconds."""
        try:
            self._asking.answer(READY)
        except NoAnswer:
            raise StoreUnavailable(f"{pg.where(self.store.url)}: no answer so far") from None

    def _ask(self) -> None:
        with self.transaction() as connection:
            connection.execute("SELECT 1")

    def broker(self) -> "AbstractContextManager[Broker]":
        """The configured broker, for one request. Raises BrokerError and StoreError."""
        return open_broker(self.config, self.store)


def _of(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Uses = Annotated[Context, Depends(_of)]
"""The type of a route's parameter that is to be the context."""
