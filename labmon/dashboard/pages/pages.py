"""One route for each page."""

import os
import re
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Request
from jinja2 import Environment, FileSystemLoader
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from labmon import __version__
from labmon.dashboard.access import Caller, caller_of, give_cookie, log_in, login_turn
from labmon.dashboard.api.parameters import LARGEST
from labmon.dashboard.api.problems import title
from labmon.dashboard.context import Context, Uses
from labmon.dashboard.pages import static
from labmon.dashboard.web import Problem
from labmon.errors import LabmonError
from labmon.store.accounts import users
from labmon.store.accounts.roles import Role
from labmon.store.inventory import labs, systems
from labmon.text import finalized

PAGES: dict[str, tuple[str, str, Role]] = {
    "overview": ("/", "Overview", "viewer"),
    "systems": ("/systems", "Systems", "viewer"),
    "system": ("/systems/{id}", "System", "viewer"),
    "labs": ("/labs", "Labs", "viewer"),
    "lab": ("/labs/{id}", "Lab", "viewer"),
    "alerts": ("/alerts", "Alerts", "viewer"),
    "queues": ("/queues", "Queues", "viewer"),
    "dead": ("/queues/dead", "Dead letters", "viewer"),
    "scans": ("/scans", "Scans", "viewer"),
    "rules": ("/rules", "Rules", "viewer"),
    "maintenance": ("/maintenance", "Maintenance", "viewer"),
    "account": ("/account", "Account", "viewer"),
    "audit": ("/audit", "Audit", "admin"),
    "users": ("/users", "Users", "admin"),
}
"""Path, title and least role of each page, by the name of its template and its module."""

_BELOW = {"system": "systems", "lab": "labs", "dead": "queues"}
"""The entry of the navigation that stands for a page without one of its own."""

router = APIRouter(include_in_schema=False)


@cache
def environment() -> Environment:
    """Where templates come from. Every value is escaped."""
    folder = Path(__file__).parents[1] / "templates"
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        finalize=finalized,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(
    request: Request,
    context: Context,
    name: str,
    status: int = 200,
    *,
    caller: Caller | None = None,
    headers: dict[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """A template, with what base.html uses: `title`, and `caller` for who is logged in."""
    root = context.config.dashboard.root_path
    theme = request.cookies.get("labmon_theme")
    text = (
        environment()
        .get_template(f"{name}.html")
        .render(
            page=name,
            now=context.now().isoformat(timespec="milliseconds"),
            current=_BELOW.get(name, name),
            root=root,
            static=f"{root}/static/{static.content_hash()}",
            module=static.has_module(name),
            theme=theme if theme in ("dark", "light") else "",
            version=__version__,
            kiosk="kiosk" in request.query_params,
            caller=caller,
            # The command that adds a user would be about another database than the demo's.
            no_users=caller is not None and caller.user_id is None and "LABMON_DEMO" not in os.environ,
            **values,
        )
    )
    return HTMLResponse(text, status, headers=headers)


def render_problem(request: Request, context: Context, problem: Problem) -> HTMLResponse:
    """The page for an error. While the database is away it loads itself again every few seconds."""
    caller = None
    if problem.status < 500:
        with suppress(Problem, LabmonError):
            caller = caller_of(request, context)
    return render(
        request,
        context,
        "error",
        problem.status,
        caller=caller,
        headers=problem.headers,
        title=title(problem.status),
        detail=problem.detail,
        away=problem.status == 503,
    )


def _add(name: str, path: str, heading: str, role: Role) -> None:
    def page(request: Request, context: Uses) -> Response:
        caller = caller_of(request, context)
        if caller is None:
            return to_login(request, context)
        if not caller.may(role):
            raise Problem(
                403, f"this page is for the role {role}, and {caller.name} has the role {caller.role}"
            )
        id = request.path_params.get("id", "")
        if id and not _exists(context, name, id):
            raise Problem(404, f"there is no {name} of this number: it may have been removed")
        return render(request, context, name, caller=caller, title=heading, id=id)

    router.add_api_route(path, page, methods=["GET", "HEAD"], name=name)


def _exists(context: Context, name: str, id: str) -> bool:
    """True for the number of a system or of a lab."""
    if not (id.isascii() and id.isdecimal() and 1 <= int(id[:20]) <= LARGEST):
        return False
    with context.transaction() as connection:
        if name == "system":
            return bool(systems.known(connection, [int(id)]))
        return any(one.lab_id == int(id) for one in labs.names(connection))


for _name, (_path, _title, _role) in PAGES.items():
    _add(_name, _path, _title, _role)


def to_login(request: Request, context: Context) -> Response:
    """To the login page, and from there to what was asked for."""
    root = context.config.dashboard.root_path
    here = request.url.path.removeprefix(root) or "/"
    query = f"?{request.url.query}" if request.url.query else ""
    asked = "" if here == "/" and not query else f"?next={quote(here + query, safe='/')}"
    return RedirectResponse(f"{root}/login{asked}", 303)


def next_page(text: str) -> str:
    """Where to go after the login: a path of ours, below the root path. Others mean the first page."""
    is_ours = re.fullmatch(r"/(?![/\\])[^\\\x00-\x20\x7f]*", text) is not None
    return text if is_ours and text.isprintable() and len(text) < 2000 else "/"


@router.get("/login", name="login")
def login(request: Request, context: Uses, next: str = "/") -> Response:
    """The only page that strangers see."""
    caller = caller_of(request, context)
    if caller is not None:
        return RedirectResponse(context.config.dashboard.root_path + next_page(next), 303)
    with context.transaction() as connection:
        no_users = not users.any_exist(connection)
    return _login(request, context, next=next_page(next), no_users_yet=no_users)


@router.post("/login")
async def log_in_by_form(request: Request) -> Response:
    """The form of the login page, which needs no script."""
    fields = parse_qs((await request.body()).decode(errors="replace"), max_num_fields=20)
    context: Context = request.app.state.context
    name, password, next = (fields.get(field, [""])[0] for field in ("name", "password", "next"))
    try:
        async with login_turn(request, context, name):
            secret = await run_in_threadpool(log_in, request, context, name, password)
    except Problem as problem:
        return _login(
            *(request, context, problem.status),
            headers=problem.headers,
            next=next_page(next),
            fault=problem.detail,
            typed=name[:64],
        )
    response = RedirectResponse(context.config.dashboard.root_path + next_page(next), 303)
    give_cookie(request, response, secret)
    return response


def _login(request: Request, context: Context, status: int = 200, **values: Any) -> Response:
    return render(request, context, "login", status, title="Log in", **values)
