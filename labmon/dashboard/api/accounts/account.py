"""Who is logged in: their password, sessions and tokens."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field, SecretStr
from starlette.concurrency import run_in_threadpool

from labmon.dashboard import accounts
from labmon.dashboard.access import Caller, Viewer, give_cookie, log_in, login_turn, take_cookie
from labmon.dashboard.api.document import answers
from labmon.dashboard.api.parameters import Body, Id
from labmon.dashboard.context import Context, Uses
from labmon.dashboard.security import passwords
from labmon.dashboard.web import Json, Problem
from labmon.pg import Connection
from labmon.store.accounts import sessions, tokens, users
from labmon.store.accounts.roles import Role

open_router = APIRouter(tags=["account"])
"""What needs no login."""

router = APIRouter(tags=["account"])


class Login(Body):
    """A name and a password."""

    name: Annotated[str, Field(max_length=200)]
    password: Annotated[SecretStr, Field(max_length=passwords.LONGEST)]


@open_router.post("/login", status_code=204)
async def login(request: Request, body: Login, context: Uses) -> Response:
    """Begin a session, which is in the cookie of the answer."""
    password = body.password.get_secret_value()
    async with login_turn(request, context, body.name):
        secret = await run_in_threadpool(log_in, request, context, body.name, password)
    response = Response(status_code=204)
    give_cookie(request, response, secret)
    return response


@router.post("/logout", status_code=204)
def logout(request: Request, caller: Viewer, context: Uses) -> Response:
    """End this session."""
    if caller.user_id is not None and caller.session_id is not None:
        with context.transaction() as connection:
            sessions.end(connection, caller.user_id, caller.session_id)
            caller.record(connection, "logout", f"user {caller.name}")
    response = Response(status_code=204)
    take_cookie(request, response)
    return response


@router.get("/me")
def me(caller: Viewer) -> dict[str, Any]:
    """Who asks, their role, and the token that their unsafe requests must carry."""
    return {"name": caller.name, "role": caller.role, "csrf": caller.csrf}


class NewPassword(Body):
    """A password, and the one before it."""

    old: Annotated[SecretStr, Field(max_length=passwords.LONGEST)]
    new: Annotated[SecretStr, Field(max_length=passwords.LONGEST)]


@router.post("/password", status_code=204)
def change_password(body: NewPassword, caller: Viewer, context: Uses) -> Response:
    """Change one's own password. Ends one's other sessions and revokes all one's tokens."""
    _session_of(caller)
    if wait := context.limiter.begin(caller.name, caller.address):
        raise Problem(429, f"too many failed attempts: try again in {round(wait) or 1} s")
    with context.transaction() as connection:
        known = users.credentials(connection, caller.name)
    if not known or not passwords.matches(body.old.get_secret_value(), known.password):
        raise Problem(422, "the old password is wrong")
    context.limiter.succeeded(caller.name, caller.address)
    with context.transaction() as connection:
        new = body.new.get_secret_value()
        accounts.change_user(connection, caller.actor, caller.name, password=new, stay=caller.session_id)
    return Response(status_code=204)


@router.get("/sessions")
def list_sessions(caller: Viewer, context: Uses) -> Json:
    """One's own sessions, the latest used first; `current` is this one."""
    if caller.user_id is None:
        return Json([])
    with context.transaction() as connection:
        found = sessions.of_user(connection, caller.user_id)
    return Json([{**_fields(one), "current": one.session_id == caller.session_id} for one in found])


@router.delete("/sessions", status_code=204)
def end_sessions(caller: Viewer, context: Uses) -> Response:
    """End all of one's own sessions but this one."""
    user_id = _session_of(caller)
    with context.transaction() as connection:
        ended = sessions.end_all(connection, user_id, but=caller.session_id)
        caller.record(connection, "sessions.end", f"user {caller.name}", {"sessions": ended})
    return Response(status_code=204)


@router.delete("/sessions/{session_id}", status_code=204)
def end_session(session_id: Id, caller: Viewer, context: Uses) -> Response:
    """End one of one's own sessions."""
    return _end(caller, context, sessions.end, "session", session_id)


class NewToken(Body):
    """What a token is for, what it allows, and for how long."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
    role: Role = "viewer"
    days: Annotated[int | None, Field(ge=1, le=3650)] = 90


@router.get("/tokens", **answers(list[tokens.Token]))
def list_tokens(caller: Viewer, context: Uses) -> Json:
    """One's own tokens, the newest first, without the tokens themselves."""
    if caller.user_id is None:
        return Json([])
    with context.transaction() as connection:
        return Json(tokens.of_user(connection, caller.user_id))


@router.post("/tokens", status_code=201)
def add_token(body: NewToken, caller: Viewer, context: Uses) -> Json:
    """Make a token. Its secret is in this answer, and nowhere else. A token cannot make tokens."""
    user_id = _session_of(caller)
    if not caller.may(body.role):
        raise Problem(403, f"{caller.name} has the role {caller.role}: a token cannot have more")
    expires_at: datetime | None = context.now() + timedelta(days=body.days) if body.days else None
    with context.transaction() as connection:
        token_id, secret = accounts.add_token(
            connection, caller.actor, user_id, body.name, body.role, expires_at
        )
    return Json({"token_id": token_id, "token": secret, "expires_at": expires_at}, 201)


@router.delete("/tokens/{token_id}", status_code=204)
def remove_token(token_id: Id, caller: Viewer, context: Uses) -> Response:
    """Revoke one of one's own tokens."""
    return _end(caller, context, tokens.remove, "token", token_id)


def _end(
    caller: Caller,
    context: Context,
    end: Callable[[Connection[Any], int, int], bool],
    kind: Literal["session", "token"],
    number: int,
) -> Response:
    """End one of one's own sessions or tokens. Raises Problem where there is none of that number."""
    user_id = _session_of(caller)
    with context.transaction() as connection:
        if not end(connection, user_id, number):
            raise Problem(404, f"there is no {kind} {number} of {caller.name}")
        action = "sessions.end" if kind == "session" else "tokens.remove"
        caller.record(connection, action, f"{kind} {number}")
    return Response(status_code=204)


def _session_of(caller: Caller) -> int:
    """The user who is logged in. Raises Problem with a token, and while no user exists."""
    if caller.user_id is None:
        raise Problem(409, "there is no user yet. Add one: labmon dashboard users add NAME --role admin")
    if caller.session_id is None:
        raise Problem(403, "this needs a login with a password: a token may not")
    return caller.user_id


def _fields(one: sessions.Session) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}
