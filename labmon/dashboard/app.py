"""The application: routers, pages, static files, and what stands before them."""

import mimetypes
from copy import deepcopy
from typing import Any

from fastapi import Depends, FastAPI
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from labmon import __version__
from labmon.dashboard import api
from labmon.dashboard.access import Viewer, viewer
from labmon.dashboard.api import document, health, metrics, problems
from labmon.dashboard.api.accounts import account
from labmon.dashboard.api.strict import strict
from labmon.dashboard.context import Context
from labmon.dashboard.live.live import Live
from labmon.dashboard.pages import pages, public, static
from labmon.dashboard.security.body import LimitedBody
from labmon.dashboard.security.headers import SecurityHeaders
from labmon.dashboard.security.hosts import KnownHosts, known_names
from labmon.dashboard.web import API, Problem
from labmon.errors import StoreError

MAX_BODY = 2**20
"""Bytes of a request's body."""


_OPEN = ("/readyz", "/public", "/login")


class Dashboard(FastAPI):
    """The framework's application with its own guards outermost: also an error of a middleware, and what is
    refused, has the headers."""

    def openapi(self) -> dict[str, Any]:
        """The document with what the framework cannot know."""
        found = deepcopy(super().openapi())  # which it keeps, and gives to several threads
        return document.complete(found, [module.router for module in api.MODULES])

    def build_middleware_stack(self) -> ASGIApp:
        """As the framework's, with the guards around it."""
        settings = self.state.context.config.dashboard
        inner = LimitedBody(super().build_middleware_stack(), MAX_BODY, _refuse)
        known = KnownHosts(inner, known_names(settings), settings.root_path, _refuse)
        return AsGet(SecurityHeaders(known), "https" if settings.certificate else "")


def create_app(context: Context) -> Dashboard:
    """The application that serves this store and these queues. Opens nothing by itself."""
    mimetypes.add_type("text/javascript", ".js")  # some systems say text/plain, which browsers refuse to run
    app = Dashboard(
        title="labmon",
        version=__version__,
        docs_url=None,  # the pages of the framework load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
        middleware=[Middleware(_Compressed)],
    )
    app.state.context = context
    for kind in problems.HANDLED:
        app.add_exception_handler(kind, _answer)
    context.live = Live(context)
    known: dict[str, Any] = {
        "dependencies": [Depends(viewer), Depends(strict)],
        "responses": problems.DOCUMENTED,
    }
    for module in api.MODULES:
        app.include_router(module.router, prefix=API, **known)
    anybody: dict[str, Any] = {"dependencies": [Depends(strict)], "responses": problems.DOCUMENTED}
    app.include_router(account.open_router, prefix=API, **anybody)
    app.include_router(metrics.router, **known)
    app.include_router(health.router)
    app.include_router(pages.router)
    if context.config.dashboard.public:
        app.include_router(public.router)

    @app.get("/openapi.json", include_in_schema=False)
    def openapi(_: Viewer) -> dict[str, Any]:
        return app.openapi()

    app.mount(f"/static/{static.content_hash()}", static.ForEver(directory=static.FOLDER))
    return app


class AsGet:
    """Answers HEAD as GET; the server leaves the body out. Sets the scheme where this process ends TLS: then
    it knows better than a header."""

    def __init__(self, app: ASGIApp, scheme: str) -> None:
        self._app = app
        self._scheme = scheme

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if self._scheme:
                scope = {**scope, "scheme": self._scheme}
            if scope["method"] == "HEAD":
                scope = {**scope, "method": "GET", "is_head": True}
        await self._app(scope, receive, send)


class _Compressed:
    """Compresses data and static files. Not pages: they hold a secret, whose length would show."""

    def __init__(self, app: ASGIApp) -> None:
        self._plain = app
        self._compressed = GZipMiddleware(app, minimum_size=1000, compresslevel=5)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        chosen = self._compressed if path.startswith((f"{API}/", "/static/")) else self._plain
        await chosen(scope, receive, send)


def _answer(request: Request, error: Exception) -> Response:
    """The answer to an error: a page for who reads pages, a problem for who reads data."""
    problem = problems.of(error)
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    if isinstance(error, StoreError) and _is_for_strangers(request, path):
        problem = Problem(problem.status, "the database does not answer", headers=problem.headers)
    is_page = "text/html" in request.headers.get("accept", "")
    if problem.status == 401 and is_page and request.headers.get("sec-fetch-mode") == "navigate":
        return pages.to_login(request, request.app.state.context)
    reads_pages = is_page and not path.startswith("/api/")
    if not reads_pages:
        return problems.answer(problem)
    return pages.render_problem(request, request.app.state.context, problem)


def _is_for_strangers(request: Request, path: str) -> bool:
    """True where it may be somebody without login, who need not know where the database is."""
    return path.startswith(_OPEN) or not {"cookie", "authorization"} & set(request.headers)


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
    await problems.answer(Problem(status, text))(scope, receive, send)
