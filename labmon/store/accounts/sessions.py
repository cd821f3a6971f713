"""Logins of browsers. A session ends when it was idle for long, when it is old, or when it is revoked."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.rows import class_row

from labmon.store.accounts.roles import Role

IDLE = timedelta(hours=8)
LONGEST = timedelta(days=7)

_ALIVE = "last_used_at > now() - %(idle)s AND web_sessions.created_at > now() - %(longest)s"
_LIMITS = {"idle": IDLE, "longest": LONGEST}


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose a session or a token is, and what it allows."""

    number: int  #: of the session or token
    user_id: int
    name: str
    role: Role
    csrf: str  #: "" for a token


def identify(
    connection: Connection[Any], query: LiteralString, use: LiteralString, values: Mapping[str, Any]
) -> Identity | None:
    """Whose session or token the query finds with these values. `use` counts it as used, by its number."""
    with connection.cursor(row_factory=class_row(Identity)) as cursor:
        found = cursor.execute(query, values).fetchone()
    if found:
        connection.execute(use, [found.number])
    return found


@dataclass(frozen=True, slots=True)
class Session:
    """A login as its user sees it."""

    session_id: int
    created_at: datetime
    last_used_at: datetime
    address: str
    browser: str


def begin(
    connection: Connection[Any], user_id: int, digest: bytes, csrf: str, address: str, browser: str
) -> None:
    """Log a user in. Sessions that are over go, whosever they are."""
    connection.execute(f"DELETE FROM web_sessions WHERE NOT ({_ALIVE})", _LIMITS)
    connection.execute(
        "INSERT INTO web_sessions (user_id, digest, csrf, address, browser) VALUES (%s, %s, %s, %s, %s)",
        [user_id, digest, csrf, address, browser],
    )
    connection.execute("UPDATE users SET last_login_at = now() WHERE user_id = %s", [user_id])


def find(connection: Connection[Any], digest: bytes) -> Identity | None:
    """Whose session it is; None when it is over, or never was. Counts as use, once a minute."""
    return identify(
        connection,
        "SELECT session_id AS number, user_id, name, role, csrf "
        f"FROM web_sessions JOIN users USING (user_id) WHERE digest = %(digest)s AND {_ALIVE}",
        "UPDATE web_sessions SET last_used_at = now() "
        "WHERE session_id = %s AND last_used_at < now() - interval '1 minute'",
        {"digest": digest} | _LIMITS,
    )


def of_user(connection: Connection[Any], user_id: int) -> list[Session]:
    """A user's sessions, the latest used first."""
    with connection.cursor(row_factory=class_row(Session)) as cursor:
        cursor.execute(
            "SELECT session_id, created_at, last_used_at, address, browser FROM web_sessions "
            f"WHERE user_id = %(user_id)s AND {_ALIVE} ORDER BY last_used_at DESC, session_id DESC",
            {"user_id": user_id} | _LIMITS,
        )
        return cursor.fetchall()


def end(connection: Connection[Any], user_id: int, session_id: int) -> bool:
    """End one of a user's sessions. False when they have none of that number."""
    done = connection.execute(
        "DELETE FROM web_sessions WHERE user_id = %s AND session_id = %s", [user_id, session_id]
    )
    return done.rowcount > 0


def end_all(connection: Connection[Any], user_id: int, *, but: int | None = None) -> int:
    """End a user's sessions, except one. Returns how many."""
    return connection.execute(
        "DELETE FROM web_sessions WHERE user_id = %s AND session_id IS DISTINCT FROM %s", [user_id, but]
    ).rowcount
