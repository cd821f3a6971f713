"""Tokens for programs that use the API."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from labmon.store.accounts.roles import Role
from labmon.store.accounts.sessions import Identity, identify


@dataclass(frozen=True, slots=True)
class Token:
    """A token as its user sees it: without the token."""

    token_id: int
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


def add(
    connection: Connection[Any],
    user_id: int,
    name: str,
    role: Role,
    digest: bytes,
    expires_at: datetime | None,
) -> int:
    """Make one; returns its number."""
    row = connection.execute(
        "INSERT INTO web_tokens (user_id, name, role, digest, expires_at) VALUES (%s, %s, %s, %s, %s) "
        "RETURNING token_id",
        [user_id, name, role, digest, expires_at],
    ).fetchone()
    assert row is not None
    return int(row[0])


def find(connection: Connection[Any], digest: bytes) -> Identity | None:
    """Whose token it is; its role is never above its user's. None when it has expired, or never was."""
    return identify(
        connection,
        """
        SELECT token_id AS number, user_id, users.name, '' AS csrf,
               CASE WHEN 'viewer' IN (users.role, web_tokens.role) THEN 'viewer'
                    WHEN 'operator' IN (users.role, web_tokens.role) THEN 'operator'
                    ELSE 'admin' END AS role
        FROM web_tokens JOIN users USING (user_id)
        WHERE digest = %(digest)s AND (expires_at IS NULL OR expires_at > now())
        """,
        "UPDATE web_tokens SET last_used_at = now() WHERE token_id = %s "
        "AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')",
        {"digest": digest},
    )


def of_user(connection: Connection[Any], user_id: int) -> list[Token]:
    """A user's tokens, also expired ones, the newest first."""
    with connection.cursor(row_factory=class_row(Token)) as cursor:
        cursor.execute(
            "SELECT token_id, name, role, created_at, expires_at, last_used_at FROM web_tokens "
            "WHERE user_id = %s ORDER BY token_id DESC",
            [user_id],
        )
        return cursor.fetchall()


def remove(connection: Connection[Any], user_id: int, token_id: int) -> bool:
    """Revoke one of a user's tokens. False when they have none of that number."""
    done = connection.execute(
        "DELETE FROM web_tokens WHERE user_id = %s AND token_id = %s", [user_id, token_id]
    )
    return done.rowcount > 0


def remove_all(connection: Connection[Any], user_id: int) -> int:
    """Revoke all of a user's tokens. Returns how many."""
    return connection.execute("DELETE FROM web_tokens WHERE user_id = %s", [user_id]).rowcount
