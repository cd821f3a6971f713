"""Users, logins and tokens: what the commands and the API both do with them.

Every change is recorded in the same transaction. What is asked for in vain raises UsageError.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from labmon.dashboard.security import passwords
from labmon.errors import UsageError
from labmon.store.accounts import audit, sessions, tokens, users
from labmon.store.accounts.roles import ROLES, Role

if TYPE_CHECKING:
    from labmon.pg import Connection

_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")

TOKEN_PREFIX = "lmt_"
"""So that programs that look for secrets in files know one."""

MOST_TOKENS = 50


class NoSuchUser(UsageError):
    """There is no user of that name."""


@dataclass(frozen=True)
class Actor:
    """Who makes a change, and from where."""

    name: str
    address: str


def digest(secret: str) -> bytes:
    """What is stored of a session or a token, which are random: no salt, no work."""
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def user_name(text: str) -> str:
    """The name as it is kept. Raises UsageError."""
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        raise UsageError(f"user {text[:70]!r}: a name has up to 64 letters, digits and . _ @ -")
    return name


def role_name(text: str) -> Role:
    """The role of that name. Raises UsageError."""
    for role in ROLES:
        if role == text:
            return role
    raise UsageError(f"there is no role {text[:70]!r}. There are: {', '.join(ROLES)}")


def add_user(connection: "Connection[Any]", actor: Actor, name: str, role: Role, password: str) -> None:
    """Add a user. Raises Busy."""
    name = user_name(name)
    passwords.check(password, name)
    if not users.add(connection, name, role, passwords.hashed(password)):
        raise UsageError(f"there is a user {name} already. Change it with: labmon dashboard users set {name}")
    _record(connection, actor, "users.add", f"user {name}", {"role": role})


def change_user(
    connection: "Connection[Any]",
    actor: Actor,
    name: str,
    *,
    role: Role | None = None,
    password: str | None = None,
    stay: int | None = None,
) -> None:
    """Give a user another role, another password, or both. A new password ends all sessions but `stay`,
    and revokes all tokens: a person who knew the old password may have made some.

    Raises Busy.
    """
    name = user_name(name)
    if role is None and password is None:
        raise UsageError("nothing to change: give a role or a password")
    if role is not None and role != "admin":
        _keep_an_admin(connection, name)
    hashed = None
    if password is not None:
        passwords.check(password, name)
        hashed = passwords.hashed(password)
    found = users.credentials(connection, name)
    if found is None:
        raise _no_user(name)
    users.change(connection, name, role=role, password=hashed)
    revoked = 0
    if hashed:
        sessions.end_all(connection, found.user_id, but=stay)
        revoked = tokens.remove_all(connection, found.user_id)
    detail: dict[str, Any] = ({"role": role} if role else {}) | ({"password": "changed"} if hashed else {})
    detail |= {"tokens_revoked": revoked} if revoked else {}
    _record(connection, actor, "users.set", f"user {name}", detail)


def remove_user(connection: "Connection[Any]", actor: Actor, name: str) -> None:
    """Remove a user, with all sessions and tokens."""
    name = user_name(name)
    _keep_an_admin(connection, name)
    if not users.remove(connection, name):
        raise _no_user(name)
    _record(connection, actor, "users.remove", f"user {name}")


def log_in(connection: "Connection[Any]", user_id: int, actor: Actor, browser: str) -> str:
    """Begin a session; returns its secret, for the cookie."""
    secret, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    sessions.begin(connection, user_id, digest(secret), csrf, actor.address, browser[:200])
    _record(connection, actor, "login", f"user {actor.name}")
    return secret


def add_token(
    connection: "Connection[Any]",
    actor: Actor,
    user_id: int,
    name: str,
    role: Role,
    expires_at: datetime | None,
) -> tuple[int, str]:
    """Make a token; returns its number and its secret, which nobody can ask for again."""
    if len(tokens.of_user(connection, user_id)) >= MOST_TOKENS:
        raise UsageError(f"{actor.name} has {MOST_TOKENS} tokens. Revoke one first")
    secret = TOKEN_PREFIX + secrets.token_urlsafe(32)
    token_id = tokens.add(connection, user_id, name, role, digest(secret), expires_at)
    detail = {"name": name, "role": role, "expires_at": expires_at and expires_at.isoformat()}
    _record(connection, actor, "tokens.add", f"token {token_id}", detail)
    return token_id, secret


def _keep_an_admin(connection: "Connection[Any]", name: str) -> None:
    """Nobody could undo it. The last user of all may go: then the dashboard is as it was at first."""
    everybody = users.users(connection)
    is_admin = any(one.name == name and one.role == "admin" for one in everybody)
    if is_admin and len(everybody) > 1 and not users.other_admins(connection, name):
        raise UsageError(f"{name} is the only admin. Make somebody else one first")


def _no_user(name: str) -> NoSuchUser:
    return NoSuchUser(f"there is no user {name}. See: labmon dashboard users list")


def _record(
    connection: "Connection[Any]",
    actor: Actor,
    action: str,
    object: str,
    detail: dict[str, Any] | None = None,
) -> None:
    audit.record(connection, actor.name, action, object, detail, address=actor.address)
