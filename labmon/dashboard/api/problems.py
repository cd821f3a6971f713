"""Every error as application/problem+json (RFC 9457)."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from labmon import pg
from labmon.dashboard.accounts import NoSuchUser
from labmon.dashboard.security.passwords import Busy
from labmon.dashboard.web import Json, Problem
from labmon.errors import (
    AlreadyRunning,
    BrokerError,
    LabmonError,
    PermissionNeeded,
    StoreError,
    UsageError,
)
from labmon.masking import mask_text

HANDLED: tuple[type[Exception], ...] = (
    Problem,
    HTTPException,
    RequestValidationError,
    LabmonError,
    pg.Error,
    Exception,
)
"""What has an answer. The last is a bug: its text is for the log alone."""

DOCUMENTED: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem",
        "content": {
            "application/problem+json": {
                "schema": {
                    "type": "object",
                    "required": ["type", "title", "status", "detail"],
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                    },
                }
            }
        },
    }
}
"""For the OpenAPI document."""

_STATUS: tuple[tuple[type[LabmonError], int], ...] = (
    (Busy, 503),
    (NoSuchUser, 404),
    (UsageError, 422),
    (AlreadyRunning, 409),
    (StoreError, 503),
    (BrokerError, 503),
    (PermissionNeeded, 503),
)

_MINE = "22"
"""The class of SQLSTATE (Appendix A of the manual) for values that the database cannot hold."""


def of(error: Exception) -> Problem:
    """The answer to an error."""
    match error:
        case Problem():
            return error
        case HTTPException():
            return Problem(error.status_code, _said(error), headers=dict(error.headers or {}))
        case RequestValidationError():
            return Problem(422, "; ".join(_faults(error.errors()))[:1000])
        case LabmonError():
            status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
            headers = {"retry-after": "2"} if status == 503 else {}
            said = mask_text(str(error))
            return Problem(status, _for_pages(said) if status < 500 else said, headers=headers)
        case pg.Error() if (error.sqlstate or "").startswith(_MINE):
            return Problem(422, pg.one_line(error))
    return Problem(500, "this is a bug in labmon. Its log says more")


def answer(problem: Problem) -> Response:
    """The answer as JSON."""
    body = {
        "type": "about:blank",
        "title": title(problem.status),
        "status": problem.status,
        "detail": problem.detail,
    }
    return Json(body, problem.status, headers=problem.headers, media_type="application/problem+json")


def title(status: int) -> str:
    """The words of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


_COMMAND = re.compile(r"[.;]? (?:See|Change it with|To make it, give its department): (?:labmon |--).*")
_OPTION = re.compile(r"--([a-z][a-z-]+)")


def _for_pages(text: str) -> str:
    """What a command would say, without options and without the commands to type next."""
    return _OPTION.sub(lambda found: found[1].replace("-", " "), _COMMAND.sub("", text))


def _said(error: HTTPException) -> str:
    match error.status_code:
        case 404:
            return "there is nothing at this address"
        case 405:
            return "this address does not take that method"
        case 413:
            return "the body is larger than this server takes"
    return str(error.detail)


def _faults(errors: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """Where and what, never the value: it may be a password."""
    for fault in errors:
        place = [
            str(part) for part in fault.get("loc", ()) if part not in ("body", "query", "path", "header")
        ]
        said = str(fault.get("msg", "is wrong"))
        yield f"{'.'.join(place)}: {said}" if place else said
