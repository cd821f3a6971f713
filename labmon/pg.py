"""How labmon talks to a PostgreSQL server: used by the store and by the broker that lives in one."""

import os
import re
import select
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import psycopg
from psycopg import Connection, Error, Rollback, conninfo
from psycopg.conninfo import make_conninfo
from psycopg.errors import InsufficientPrivilege, NumericValueOutOfRange

from labmon import cleartext
from labmon.masking import is_plain_url
from labmon.text import near

__all__ = [
    "Connection",
    "Error",
    "InsufficientPrivilege",
    "NumericValueOutOfRange",
    "Rollback",
    "TransactionPooler",
    "make_conninfo",
]
# The driver's names for the packages that only pass connections on, or meet its errors.

_REFUSALS = re.compile(
    r"authentication failed|no password supplied|does not exist|pg_hba\.conf|permission denied|"
    r"not permitted to log in|invalid (integer value|connection option|URI|port)|"
    r"SSL .*(not support|required)|certificate verify failed|server certificate for|"
    r"unsupported startup parameter|between transactions",
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


_READ_ONLY = "25006"  # read_only_sql_transaction

_UNREADABLE = re.compile(
    r"\b(invalid \w+ value:|invalid port number:|invalid integer value|weak sslmode|root certificate file)"
)

SESSION = {
    # what text, times and numbers look like on the way
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "timezone_abbreviations": "Default",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    # how statements are read
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    "array_nulls": "on",
    "check_function_bodies": "on",
    # what a transaction sees. Not whether it may write: hosts and administrators forbid that on purpose,
    # before a disk is full, and `labmon doctor` says so
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "row_security": "off",  # an error where a policy would hide rows
    # labmon has deadlines of its own, and long statements: migrations, packing
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "transaction_timeout": "0",  # since PostgreSQL 17
    # costs 300 ms where the planner is wrong about the number of rows, and gains nothing here
    "jit": "off",
}
"""Settings of every session: an administrator may set any of them for the server, a database or a role."""

_SET = "SELECT pg_backend_pid(), {}".format(
    ", ".join(
        [
            f"CASE WHEN current_setting('{name}', true) IS NOT NULL "
            f"THEN set_config('{name}', '{value}', false) END"
            for name, value in SESSION.items()
        ]
        # A message is acknowledged once its commit is on disk. Stronger settings (replicas) are left.
        + [
            "CASE current_setting('synchronous_commit') WHEN 'off' THEN "
            "set_config('synchronous_commit', 'on', false) END"
        ]
    )
)


class TransactionPooler(psycopg.OperationalError):
    """A pooler gives each transaction another session: locks, LISTEN and settings would be mixed up."""


_poolers: dict[str, bool] = {}
"""Whether the pooler at an address shares sessions between transactions: asked once for each."""

IDLE = psycopg.pq.TransactionStatus.IDLE

POOLER_ANSWERS = 5
"""Seconds for a pooler to serve a second connection. One that lets it wait longer keeps sessions apart."""


def connect(url: str, *, name: str, timeout: float = 10, **options: Any) -> Connection[Any]:
    """A connection that notices a dead server within a minute. Raises psycopg.Error; see `is_refusal`.

    `name` is what `pg_stat_activity` shows. The session has the settings of `prepare`.
    """
    given = settings(url, name=name, timeout=timeout)
    warn_of_clear_text(given)
    connection = psycopg.connect(given, **options)
    try:
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def settings(url: str, *, name: str, timeout: float = 10) -> str:
    """The URL with labmon's own connection settings, where it does not say otherwise. Then call `prepare`.

    Raises psycopg.ProgrammingError for one that libpq might read otherwise than it was meant, and then quote
    a piece of the password as a host or a port.
    """
    if _is_url(url) and not is_plain_url(url):
        raise psycopg.ProgrammingError("a character in the URL is not percent-encoded")
    ours: dict[str, str | int] = {
        "application_name": name,
        "connect_timeout": max(2, round(timeout)),  # libpq takes less than 2 for 2
        "keepalives_idle": 20,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 50_000,
    }
    given = conninfo.conninfo_to_dict(url)
    return conninfo.make_conninfo(url, **{key: value for key, value in ours.items() if key not in given})


def prepare(connection: Connection[Any]) -> None:
    """Set what labmon's meaning rests on in a new session, whatever server, database and role say.

    Not as startup parameters: a pooler (pgbouncer) refuses those that it does not know. Raises
    TransactionPooler behind one that shares sessions between transactions, as pgbouncer does with
    pool_mode = transaction. In session mode a pooler does no harm.
    """
    autocommit, connection.autocommit = connection.autocommit, True
    # First and alone: one of a few milliseconds ends the longer statement behind it.
    connection.execute("SET statement_timeout = 0")
    row = connection.execute(_SET, prepare=False).fetchone()
    connection.autocommit = autocommit
    # What a pooler tells as the process that could be cancelled is not PostgreSQL's.
    if row is not None and row[0] != connection.info.backend_pid and _shares_sessions(connection):
        raise TransactionPooler(
            "a pooler shares its sessions between transactions. Set pool_mode = session in pgbouncer, or "
            "name PostgreSQL's own host and port"
        )


def _shares_sessions(connection: Connection[Any]) -> bool:
    """True when one process of PostgreSQL serves two open connections, or two processes serve one of them."""
    dsn = connection.info.dsn  # without the password
    if dsn not in _poolers:
        options: dict[str, Any] = {"password": connection.info.password or None}
        other = psycopg.connect(dsn, autocommit=True, connect_timeout=POOLER_ANSWERS, **options)
        try:
            _poolers[dsn] = any(_is_shared(connection.pgconn, other.pgconn) for _ in range(20))
        finally:
            other.close()
    return _poolers[dsn]


def _is_shared(one: "psycopg.pq.abc.PGconn", other: "psycopg.pq.abc.PGconn") -> bool:
    before = _process(one)
    return before == (_process(other) if other.transaction_status == IDLE else None) or before != _process(
        one
    )


def _process(session: "psycopg.pq.abc.PGconn") -> int | None:
    """The process that serves the next transaction. None when no process does within `POOLER_ANSWERS`."""
    session.send_query(b"SELECT pg_backend_pid()")
    answers = select.poll()
    answers.register(session.socket, select.POLLIN)
    deadline = time.monotonic() + POOLER_ANSWERS
    value = None
    while True:
        while session.is_busy():
            left = deadline - time.monotonic()
            if left <= 0 or not answers.poll(1000 * left):
                return None
            session.consume_input()
        result = session.get_result()
        if result is None:
            return value
        found = result.get_value(0, 0)
        value = int(found) if found else None


def warn_of_clear_text(url: str) -> None:
    """Log, before anything is sent, that a password may go to another machine unencrypted.

    With libpq's usual sslmode, prefer, whoever answers decides that: so it is no matter whether TLS is used
    this time. For each of several hosts. Raises psycopg.ProgrammingError for a URL that cannot be read.
    """
    given = conninfo.conninfo_to_dict(url)
    mode = given.get("sslmode") or os.environ.get("PGSSLMODE", "prefer")
    password = given.get("password") or given.get("passfile") or os.environ.get("PGPASSWORD")
    if not password or mode not in ("disable", "allow", "prefer"):
        return
    hosts = str(given.get("hostaddr") or given.get("host") or os.environ.get("PGHOST", ""))
    for host in hosts.split(","):
        step = "Add sslmode=verify-full to its address, or set [queue] tls = true"
        cleartext.warn(where(url), host, step, certain=mode == "disable")


def array(values: Iterable[int | datetime]) -> str:
    """An array as PostgreSQL reads it, for values that need no quotes. Much faster than psycopg's own way."""
    return "{" + ",".join(map(str, values)) + "}"


def now(connection: Connection[Any]) -> datetime:
    """The database's clock, the one by which all of labmon agrees what is in the future."""
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row
    moment: datetime = row[0]
    return moment


def believable(column: str) -> str:
    """SQL for a stored time, or NULL where it is ahead of the database's clock.

    It came from a clock that was ahead then. Where the newest of several times counts, the next true one has
    to be newer than it, or nothing would change until the clock has caught up.
    """
    return f"CASE WHEN {column} <= now() THEN {column} END"


def _is_url(conninfo: str) -> bool:
    return conninfo.startswith(("postgresql://", "postgres://"))


def where(url: str) -> str:
    """The server and database as a person would name them: no user, no password."""
    if _is_url(url) and not is_plain_url(url):
        return "the [database] url"
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


def is_unreadable(error: psycopg.Error) -> bool:
    """True when the URL itself is wrong, so that no server was asked."""
    return not error.sqlstate and (
        isinstance(error, psycopg.ProgrammingError) or bool(_UNREADABLE.search(str(error)))
    )


def is_away(error: psycopg.Error) -> bool:
    """True when the server is gone or in trouble: the same call may work later."""
    if error.sqlstate:
        return error.sqlstate[:2] not in _REFUSAL_CLASSES + _DATA_CLASSES
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and not is_refusal(error)


def is_full(said: str) -> bool:
    """True for what servers and poolers say that have no connection left for this role or database."""
    return bool(
        re.search(r"too many (clients|connections)|remaining connection slots|no more connections", said)
    )


WRITABLE = (
    "It is a standby, or default_transaction_read_only is on for the server, the database or the role: name "
    "a server that can be written to."
)


def is_read_only(connection: Connection[Any]) -> bool:
    """True where nothing can be stored: a standby, or somebody has forbidden it."""
    row = connection.execute("SELECT current_setting('transaction_read_only') = 'on'").fetchone()
    return bool(row and row[0])


def next_step(error: psycopg.Error, said: str) -> str:
    """What to do about a server that is away or in trouble: a sentence, or ""."""
    if is_full(said):
        return (
            "It has no connection left: see in pg_stat_activity which clients have them, lower [database] "
            "pool_size or the number of workers, or raise max_connections (of the role or database: "
            "CONNECTION LIMIT)."
        )
    if error.sqlstate == _READ_ONLY or "read-only mode" in said:
        return WRITABLE
    if "statement timeout" in said:
        return (
            "Its statement_timeout is too short: ALTER ROLE (or DATABASE) ... RESET statement_timeout, or "
            "set it to seconds."
        )
    if re.search(r"database system is (starting up|shutting down)|recovery mode", said):
        return "It will be ready soon."
    if error.sqlstate or re.search(r"database .* is not currently accepting connections", said):
        return ""
    return "Is it running?"


def grant(url: str, said: str) -> str:
    """What to run against a "permission denied" of the server."""
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        given = {}
    role = given.get("user") or "ROLE"
    if "for database" in said:
        return f"Grant it with: GRANT CONNECT ON DATABASE {given.get('dbname') or role} TO {role}"
    if "for schema" in said:
        return f"Grant it as the owner of the database: GRANT CREATE ON SCHEMA public TO {role}"
    if "must be owner" in said:  # a table is made for each day
        return (
            f"Use the role that ran labmon db migrate, or make this one a member of it: GRANT OWNER TO {role}"
        )
    return (
        "Grant it as the owner: GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public "
        f"TO {role}; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"
    )


def one_line(error: psycopg.Error) -> str:
    """What the server said, without the hints and positions that follow it."""
    if error.diag.message_primary:
        return error.diag.message_primary
    if isinstance(error, psycopg.ProgrammingError):
        known = [option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()]
        if unknown := re.search(r'invalid URI query parameter: "([a-z_]{1,30})"', str(error)):
            return f"PostgreSQL has no option {unknown[1]}{near(unknown[1], known)}"
        # libpq quotes it, and it may hold a password
        return "the URL cannot be read (in a password / is written %2F, @ %40, : %3A, ? %3F, # %23)"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return (text.rpartition("failed: ")[2] or text).removeprefix("FATAL:").strip()
