"""Connections to the queue's database, what their errors mean, and the notifications sent through them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Lock
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict

from labmon import pg
from labmon.errors import BrokerForbidden, BrokerRefused, BrokerUnavailable, ConfigError

NOTIFY_EVERY = 0.15
"""Seconds. Every commit with a NOTIFY waits for all others of the whole server, so they are kept rare, and
have a transaction of their own, which holds up no message."""

LOCK_CLASS = int.from_bytes(b"labm", "big")
"""Advisory locks: (class, 0) is held while tables are made, (class, number) by each consumer of a queue."""

_NOT_SET_UP = ("42P01", "42883")
"""Undefined table, undefined function."""

_FORBIDDEN = "42501"

_TABLES = "labmon_queue, labmon_queue_name, labmon_queue_dead, labmon_queue_lease, labmon_queue_count"


class PostgresEndpoint:
    """Where the queue is: makes connections, and says in one line what went wrong with them."""

    def __init__(self, conninfo: str) -> None:
        try:
            conninfo_to_dict(conninfo)
        except psycopg.ProgrammingError:
            # Without its text and its cause: libpq quotes what it did not understand, passwords too.
            raise ConfigError("[queue], [database] url: no PostgreSQL address can be made of them") from None
        self.conninfo = conninfo
        self.name = f"queue in {pg.where(conninfo)}"

    def connect(self, name: str) -> Connection[Any]:
        """A new connection, in autocommit. Use it within `errors`."""
        return pg.connect(self.conninfo, name=name, autocommit=True)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """The driver's errors as BrokerUnavailable and BrokerRefused."""
        try:
            yield
        except psycopg.Error as error:
            if error.sqlstate in _NOT_SET_UP:
                raise BrokerRefused(
                    f"{self.name}: there are no queues yet. Run: labmon setup-queues"
                ) from error
            text = f"{self.name}: {pg.one_line(error)}"
            if pg.is_away(error):
                raise BrokerUnavailable(f"{text}. {pg.next_step(error, text)}".rstrip()) from error
            if error.sqlstate == _FORBIDDEN:
                raise BrokerForbidden(f"{text}. {self._grant(text)}") from error
            raise BrokerRefused(f"{text}. Check [queue] and [database] url") from error
        except UnicodeEncodeError as error:
            raise BrokerRefused(f"{self.name}: an id or routing key is no text: {error.reason}") from error

    def _grant(self, text: str) -> str:
        """What to run, as the owner of the tables. To publish needs all of it, too: messages are counted by
        triggers, which run as the account that changes a table."""
        user = conninfo_to_dict(self.conninfo).get("user") or "USER"
        if "for schema" in text or "be owner" in text or "for database" in text:
            return "Run labmon setup-queues as the owner of the database"
        return f"Grant it with: GRANT SELECT, INSERT, UPDATE, DELETE ON {_TABLES} TO {user}"


def notify(server: PostgresEndpoint, session: Connection[Any], number: int) -> None:
    """Wake the consumers of a queue, unless this process did so a moment ago. Never raises."""
    if _debounce.may_notify((server.conninfo, number)):
        try:
            session.execute("SELECT pg_notify(%s, '')", (channel(number),))
        except psycopg.Error:
            pass  # The messages are in, and will be found by polling; the next call sees what is wrong.


def channel(number: int) -> str:
    """What the consumers of a queue listen to."""
    return f"labmon_queue_{number}"


class _Debounce:
    def __init__(self) -> None:
        self._lock = Lock()
        self._next: dict[tuple[str, int], float] = {}

    def may_notify(self, queue: tuple[str, int]) -> bool:
        now = time.monotonic()
        with self._lock:
            if now < self._next.get(queue, 0.0):
                return False
            self._next[queue] = now + NOTIFY_EVERY
            return True


_debounce = _Debounce()


def storable(text: str) -> str:
    """Text of unknown origin as PostgreSQL takes it: no NUL, no half of a surrogate pair."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


def utc(moment: datetime) -> datetime:
    """The same moment in UTC."""
    return moment.astimezone(UTC)
