"""Users, and the record of changes: for admins."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field, SecretStr

from labmon.dashboard import accounts
from labmon.dashboard.access import AccountAdmin, Admin
from labmon.dashboard.api.document import answers, page_of
from labmon.dashboard.api.parameters import LARGEST_ALERT, Body, Limit
from labmon.dashboard.context import Uses
from labmon.dashboard.security import passwords
from labmon.dashboard.web import Json, Problem
from labmon.store.accounts import audit, users
from labmon.store.accounts.roles import Role

router = APIRouter(tags=["admin"])

Password = Annotated[SecretStr, Field(max_length=passwords.LONGEST)]


Before = Annotated[int | None, Query(ge=0, le=LARGEST_ALERT, description="`next` of the page before.")]


Text = Annotated[str, Query(max_length=200)]


class NewUser(Body):
    """A user to add."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    role: Role = "viewer"
    password: Password


class UserChange(Body):
    """What to change of a user."""

    role: Role | None = None
    password: Password | None = None


@router.get("/users", **answers(list[users.User]))
def list_users(caller: Admin, context: Uses) -> Json:
    """All users, by name."""
    with context.transaction() as connection:
        return Json(users.users(connection))


@router.post("/users", status_code=201)
def add_user(body: NewUser, caller: AccountAdmin, context: Uses) -> Json:
    """Add a user. The first one is an admin: nobody else could add another."""
    with context.transaction() as connection:
        if body.role != "admin" and not users.any_exist(connection):
            raise Problem(422, "role: the first user must be an admin")
        accounts.add_user(connection, caller.actor, body.name, body.role, body.password.get_secret_value())
    return Json({"name": accounts.user_name(body.name), "role": body.role}, 201)


@router.patch("/users/{name}", status_code=204)
def change_user(name: str, body: UserChange, caller: AccountAdmin, context: Uses) -> Response:
    """Give a user another role, another password, or both. A new password ends their sessions and tokens."""
    password = body.password.get_secret_value() if body.password else None
    with context.transaction() as connection:
        accounts.change_user(
            *(connection, caller.actor, name), role=body.role, password=password, stay=caller.session_id
        )
    return Response(status_code=204)


@router.delete("/users/{name}", status_code=204)
def remove_user(name: str, caller: AccountAdmin, context: Uses) -> Response:
    """Remove a user, with all their sessions and tokens."""
    with context.transaction() as connection:
        accounts.remove_user(connection, caller.actor, name)
    return Response(status_code=204)


@router.get("/audit", **answers(page_of(audit.Entry, int)))
def list_audit(caller: Admin, context: Uses, after: Before = None, q: Text = "", limit: Limit = 100) -> Json:
    """Changes, the newest first; `q`: text that they hold."""
    with context.transaction() as connection:
        found = audit.entries(connection, before=after, limit=limit, words=q.strip().replace("\0", ""))
    return Json({"items": found, "next": found[-1].audit_id if len(found) == limit else None})
