"""Users of the dashboard. Names are kept in lower case."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from labmon.store.accounts.roles import Role

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('labmon_users'))"


@dataclass(frozen=True, slots=True)
class User:
    """One of them, and how often they are logged in."""

    name: str
    role: Role
    created_at: datetime
    last_login_at: datetime | None
    sessions: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a login is compared with."""

    user_id: int
    name: str
    password: str


def users(connection: Connection[Any]) -> list[User]:
    """All, by name."""
    with connection.cursor(row_factory=class_row(User)) as cursor:
        cursor.execute(
            "SELECT name, role, created_at, last_login_at, "
            "(SELECT count(*) FROM web_sessions WHERE user_id = users.user_id) AS sessions, "
            "(SELECT count(*) FROM web_tokens WHERE user_id = users.user_id) AS tokens "
            "FROM users ORDER BY name"
        )
        return cursor.fetchall()


def any_exist(connection: Connection[Any]) -> bool:
    """True when there is at least one."""
    row = connection.execute("SELECT EXISTS (SELECT FROM users)").fetchone()
    return bool(row and row[0])


def credentials(connection: Connection[Any], name: str) -> Credentials | None:
    """The user of that name."""
    with connection.cursor(row_factory=class_row(Credentials)) as cursor:
        cursor.execute("SELECT user_id, name, password FROM users WHERE name = %s", [name])
        return cursor.fetchone()


def add(connection: Connection[Any], name: str, role: Role, password: str) -> bool:
    """Add one; `password` is its hash. False when there is one of that name."""
    done = connection.execute(
        "INSERT INTO users (name, role, password) VALUES (%s, %s, %s) ON CONFLICT (name) DO NOTHING",
        [name, role, password],
    )
    return done.rowcount > 0


def change(
    connection: Connection[Any], name: str, *, role: Role | None = None, password: str | None = None
) -> bool:
    """Give a user another role, another password (its hash), or both. False when there is no such user."""
    done = connection.execute(
        "UPDATE users SET role = COALESCE(%s, role), password = COALESCE(%s, password) WHERE name = %s",
        [role, password, name],
    )
    return done.rowcount > 0


def remove(connection: Connection[Any], name: str) -> bool:
    """Remove one, with their sessions and tokens. False when there is no such user."""
    return connection.execute("DELETE FROM users WHERE name = %s", [name]).rowcount > 0


def other_admins(connection: Connection[Any], name: str) -> int:
    """How many administrators there are beside this user; none can go until the transaction ends."""
    connection.execute(_LOCK)
    row = connection.execute(
        "SELECT count(*) FROM users WHERE role = 'admin' AND name <> %s", [name]
    ).fetchone()
    return int(row[0]) if row else 0
