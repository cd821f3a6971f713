"""Who asks, what they may do, and the record of what they did."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request
from starlette.responses import Response

from labmon.dashboard import accounts
from labmon.dashboard.accounts import Actor
from labmon.dashboard.context import Context, Uses
from labmon.dashboard.security import csrf, local, passwords
from labmon.dashboard.security.turns import Crowded
from labmon.dashboard.web import Problem
from labmon.store.accounts import audit, sessions, tokens, users
from labmon.store.accounts.roles import ROLES, Role
from labmon.store.accounts.sessions import LONGEST, Identity

if TYPE_CHECKING:
    from labmon.pg import Connection

LOCAL = "local"
"""The name of who asks while no user exists: the person who started the dashboard."""


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    name: str
    role: Role
    csrf: str  #: "" with a token, which needs none
    address: str
    user_id: int | None = None  #: None while no user exists
    session_id: int | None = None  #: None also with a token

    @property
    def actor(self) -> Actor:
        """The same for `accounts`."""
        return Actor(self.name, self.address)

    @property
    def is_token(self) -> bool:
        """True when a program asks, with a token."""
        return self.user_id is not None and self.session_id is None

    def may(self, role: Role) -> bool:
        """True when the role is theirs or below theirs."""
        return ROLES.index(self.role) >= ROLES.index(role)

    def record(
        self,
        connection: "Connection[Any]",
        action: str,
        object: str,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Record what they did, in the transaction that does it: `caller.record(c, "alerts.ack", "alert 5")`.

        Every change that a route makes is followed by this. `detail` is JSON, and holds no secret.
        """
        audit.record(connection, self.name, action, object, detail, address=self.address)


def address_of(request: Request) -> str:
    """The address that asks, or the one for which a proxy of ours does."""
    found = local.plain(request.client.host) if request.client else None
    return str(found) if found else ""


def caller_of(request: Request, context: Context) -> Caller | None:
    """Who asks; None for a stranger. Raises Problem for a token that is none, StoreError.

    A stream calls it again with every ping, in a thread: a session that was revoked ends it.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        with context.transaction() as connection:
            found = tokens.find(connection, accounts.digest(token.strip()))
        if found is None:
            raise Problem(
                401, "the token is unknown, revoked or expired", headers={"www-authenticate": "Bearer"}
            )
        return _identified(found, request)
    if secret := request.cookies.get(cookie_name(request)):
        with context.transaction() as connection:
            found = sessions.find(connection, accounts.digest(secret))
        if found is not None:
            return _identified(found, request)
    return _local(request, context)


def _identified(found: Identity, request: Request) -> Caller:
    session = found.number if found.csrf else None
    return Caller(found.name, found.role, found.csrf, address_of(request), found.user_id, session)


def _local(request: Request, context: Context) -> Caller | None:
    if not context.is_own(request.scope):
        return None
    with context.transaction() as connection:
        if users.any_exist(connection):
            return None
    return Caller(LOCAL, "admin", context.local_csrf, address_of(request))


def _caller(request: Request, context: Uses) -> Caller:
    caller = caller_of(request, context)
    if caller is None:
        raise Problem(401, "log in first, or send a token: Authorization: Bearer lmt_...")
    if caller.csrf and (
        reason := csrf.fault(
            *(request.method, request.headers, context.config.dashboard.url, caller.csrf, request.url.scheme)
        )
    ):
        raise Problem(403, reason)
    return caller


def _at_least(role: Role) -> Callable[[Caller], Caller]:
    def allowed(caller: Annotated[Caller, Depends(_caller)]) -> Caller:
        if not caller.may(role):
            raise Problem(
                403, f"this needs the role {role}, and {caller.name} has the role {caller.role} here"
            )
        return caller

    return allowed


def _logged_in_admin(caller: Annotated[Caller, Depends(_at_least("admin"))]) -> Caller:
    """Tokens are stored in files of programs. A stolen one must not be able to change an account."""
    if caller.is_token:
        raise Problem(403, "this needs a login with a password: a token may not change users")
    return caller


viewer, operator, admin = map(_at_least, ROLES)

Viewer = Annotated[Caller, Depends(viewer)]
Operator = Annotated[Caller, Depends(operator)]
Admin = Annotated[Caller, Depends(admin)]
AccountAdmin = Annotated[Caller, Depends(_logged_in_admin)]
"""Types of a route's parameter: who asks, with at least this role, or the answer is 401 or 403."""


def cookie_name(request: Request) -> str:
    """A name that browsers take only over https, and from no neighbour's page, where that is possible."""
    return "__Host-labmon_session" if request.url.scheme == "https" else "labmon_session"


@asynccontextmanager
async def login_turn(request: Request, context: Context, name: str) -> AsyncIterator[None]:
    """Wait for the turn to `log_in`, longer where somebody guesses the passwords of that name; hold it within
    the block. Holds no thread meanwhile. Raises Problem 429."""
    name, address = _typed(name), address_of(request)
    if seconds := context.limiter.pause(name, address):
        await asyncio.sleep(seconds)
    source, is_last = context.limiter.place(name, address)
    try:
        async with context.turns.turn(source, is_last=is_last):
            yield
    except Crowded:
        text = "too many people are logging in at this moment. Try again in a few seconds"
        raise Problem(429, text, headers={"retry-after": "5"}) from None


def _typed(name: str) -> str:
    return name.strip().lower()[:64]


def log_in(request: Request, context: Context, name: str, password: str) -> str:
    """Begin a session; returns its secret, for `give_cookie`. Ends the one that the browser had.

    Raises Problem: 403 for a page of another site, 401 for a wrong name or password, 429 after too many.
    """
    if reason := csrf.foreign_origin(request.headers, context.config.dashboard.url, request.url.scheme):
        raise Problem(403, reason)
    name, address = _typed(name), address_of(request)
    if wait := context.limiter.begin(name, address):
        seconds = round(wait) or 1
        text = f"too many failed logins: try again in {seconds} s"
        raise Problem(429, text, headers={"retry-after": str(seconds)})
    with context.transaction() as connection:
        user = users.credentials(connection, name) if _is_text(name) else None
    if not passwords.matches(password, user.password if user else None):
        if user:  # names that do not exist are a stranger's to choose: they would fill the table
            with context.transaction() as connection:
                audit.record(connection, user.name, "login.failed", f"user {user.name}", address=address)
        raise Problem(401, "the name or the password is wrong")
    assert user is not None
    context.limiter.succeeded(name, address)
    browser = request.headers.get("user-agent", "")
    with context.transaction() as connection:
        if old := request.cookies.get(cookie_name(request)):
            if found := sessions.find(connection, accounts.digest(old)):
                sessions.end(connection, found.user_id, found.number)
        return accounts.log_in(connection, user.user_id, Actor(user.name, address), browser)


def _is_text(name: str) -> bool:
    return "\0" not in name and name.isprintable()


def give_cookie(request: Request, response: Response, secret: str) -> None:
    """Have the browser keep a session."""
    response.set_cookie(
        cookie_name(request),
        secret,
        max_age=int(LONGEST.total_seconds()),
        path="/",
        secure=request.url.scheme == "https",  # over http nobody could log in with it
        httponly=True,
        samesite="lax",
    )


def take_cookie(request: Request, response: Response) -> None:
    """Have the browser forget its session."""
    response.delete_cookie(
        cookie_name(request), path="/", secure=request.url.scheme == "https", httponly=True, samesite="lax"
    )
