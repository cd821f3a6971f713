"""The OpenAPI document: what FastAPI finds out by itself, and what it cannot.

It cannot see what a route answers that returns `Json` ready to be sent, nor which role it needs.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, APIRouter

from labmon.dashboard.access import admin, operator
from labmon.dashboard.web import API

_ANSWER = "x-answer"
_kinds: list[Any] = []
"""What the routes answer; FastAPI lets only JSON through, so a route has the place in this list."""

_ROLES = ((admin, "admin"), (operator, "operator"))

ABOUT = """\
Times are ISO 8601 in UTC, in series seconds since 1970. Lists that have `next` go on with `?after=NEXT`.
Errors are application/problem+json; `detail` says what to do. A program sends a token of
`POST /api/v1/tokens`; a session's unsafe requests send X-CSRF-Token, which is in `GET /api/v1/me`.
Every route needs the role viewer at least, but for the login."""

_SECURITY = {
    "token": {"type": "http", "scheme": "bearer", "description": "lmt_..., made on the page Account."},
    "session": {"type": "apiKey", "in": "cookie", "name": "labmon_session", "description": "Of a login."},
}


def answers(kind: Any) -> dict[str, Any]:
    """What a route answers, for its decorator: `@router.get("/labs", **answers(list[LabSummary]))`."""
    _kinds.append(kind)
    return {"openapi_extra": {_ANSWER: len(_kinds) - 1}}


def page_of(item: type, after: type = str) -> type[msgspec.Struct]:
    """One page of a list: {items, next}."""
    fields: list[tuple[str, Any]] = [("items", list[item]), ("next", after | None)]  # type: ignore[valid-type]
    return msgspec.defstruct(f"{item.__name__}Page", fields)


def complete(document: dict[str, Any], routers: Iterable[APIRouter]) -> dict[str, Any]:
    """The document with summaries, roles, logins and answers."""
    operations = list(_operations(document))
    schemas, made = msgspec.json.schema_components(_kinds, ref_template="#/components/schemas/{name}")
    components = document.setdefault("components", {})
    components["schemas"] = components.get("schemas", {}) | made
    components["securitySchemes"] = _SECURITY
    roles = _roles(routers)
    for path, method, one in operations:
        text = " ".join(one.get("description", "").split())
        one["summary"] = re.split(r"(?<=[.:]) ", text)[0].rstrip(".:") or one["summary"]
        if role := roles.get((path, method)):
            one["description"] = f"{one['description']}\n\nNeeds the role {role}."
        one["security"] = [] if path == f"{API}/login" else [{name: []} for name in _SECURITY]
        if (number := one.pop(_ANSWER, None)) is not None:
            answer = next(value for status, value in one["responses"].items() if status.startswith("2"))
            answer["content"] = {"application/json": {"schema": schemas[number]}}
    document["info"]["description"] = ABOUT
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _roles(routers: Iterable[APIRouter]) -> dict[tuple[str, str], str]:
    """The role that each route needs above viewer."""
    found = {}
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute):
                calls = {one.call for one in _all(route.dependant)}
                role = next((name for call, name in _ROLES if call in calls), None)
                for method in route.methods or () if role else ():
                    found[API + route.path, method.lower()] = str(role)
    return found


def _all(dependant: Dependant) -> Iterator[Dependant]:
    for one in dependant.dependencies:
        yield one
        yield from _all(one)
