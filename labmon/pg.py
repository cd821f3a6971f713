"""How labmon talks to a PostgreSQL server: used by the store and by the broker that lives in one."""

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import psycopg
from psycopg import Connection, conninfo

_REFUSALS = re.compile(
    r"authentication failed|no password supplied|does not exist|pg_hba\.conf|permission denied|"
    r"not permitted to log in|invalid (integer value|connection option|URI|port)|"
    r"SSL .*(not support|required)",
    re.IGNORECASE,
)
"""What a server says when trying again will not help. An error while connecting carries no SQLSTATE,
since libpq reports it as text, so text is all there is to tell it by."""

_REFUSAL_CLASSES = ("0A", "28", "3D", "3F", "42")
"""SQLSTATE classes (the manual's Appendix A) of a server that will say the same again: password, database,
permission, a table that is not there."""

_DATA_CLASSES = ("21", "22", "23", "27", "44", "54", "P0")
"""Of statements whose values were wrong, too large, or not to the liking of somebody's own trigger: the
caller's affair. All others are the server's: away, short of disk or connections, shutting down, failing over,
a deadlock."""


def connect(url: str, *, name: str, timeout: float = 10, **options: Any) -> Connection[Any]:
    """A connection that notices a dead server within a minute. Raises psycopg.Error; see `is_refusal`.

    `name` is what `pg_stat_activity` shows. Sessions are in UTC.
    """
    return psycopg.connect(settings(url, name=name, timeout=timeout), **options)


def settings(url: str, *, name: str, timeout: float = 10) -> str:
    """The URL with labmon's own connection settings, where it does not say otherwise."""
    ours: dict[str, str | int] = {
        "application_name": name,
        "connect_timeout": max(2, round(timeout)),  # libpq takes less than 2 for 2
        "keepalives_idle": 20,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 50_000,
        "options": "-c timezone=UTC",
    }
    given = conninfo.conninfo_to_dict(url)
    return conninfo.make_conninfo(url, **{key: value for key, value in ours.items() if key not in given})


def array(values: Iterable[int | datetime]) -> str:
    """An array as PostgreSQL reads it, for values that need no quotes. Much faster than psycopg's own way."""
    return "{" + ",".join(map(str, values)) + "}"


def where(url: str) -> str:
    """The server and database as a person would name them: no user, no password."""
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return "the [database] url"
    host = str(given.get("host") or given.get("hostaddr") or "localhost")
    port = f":{given['port']}" if given.get("port") and not host.startswith("/") else ""
    return f"PostgreSQL at {host}{port}, database {given.get('dbname') or given.get('user') or 'default'}"


def is_refusal(error: psycopg.Error) -> bool:
    """True when the same call would fail again, whatever values it is made with."""
    if error.sqlstate:
        return error.sqlstate[:2] in _REFUSAL_CLASSES
    return bool(_REFUSALS.search(str(error))) or isinstance(error, psycopg.ProgrammingError)


def is_away(error: psycopg.Error) -> bool:
    """True when the server is gone or in trouble: the same call may work later."""
    if error.sqlstate:
        return error.sqlstate[:2] not in _REFUSAL_CLASSES + _DATA_CLASSES
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and not is_refusal(error)


def one_line(error: psycopg.Error) -> str:
    """What the server said, without the hints and positions that follow it."""
    if error.diag.message_primary:
        return error.diag.message_primary
    if isinstance(error, psycopg.ProgrammingError):
        return "the URL cannot be read"  # libpq quotes it, and it may hold a password
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return (text.rpartition("failed: ")[2] or text).removeprefix("FATAL:").strip()
