"""What every route and page uses: JSON, and the problem that an error becomes."""

import json
import re
from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from labmon.text import foreign

API = "/api/v1"


_ESCAPE = re.compile(r"\\(u[0-9a-f]{4}|.)", re.IGNORECASE)


def encoded(value: Any) -> bytes:
    """A value as JSON. What would act in a page or a tab's title is escaped as `text.foreign` does.

    Newlines and tabs stay. All JSON passes here, so that no page has to think of it.
    """
    data = msgspec.json.encode(value)
    if data.isascii() and b"\x7f" not in data and not any(one in data for one in _ACTING):
        return data
    text = _ESCAPE.sub(_shown, data.decode())
    harmful = {one: shown for one in set(text) if (shown := foreign(one)) != one}
    return text.translate({ord(one): json.dumps(shown)[1:-1] for one, shown in harmful.items()}).encode()


_ACTING = (b"\\u00", b"\\b", b"\\f", b"\\r")
"""How the encoder writes control characters."""


def _shown(found: re.Match[str]) -> str:
    if found[1] in ('"', "\\", "/", "n", "t"):
        return found[0]
    return json.dumps(foreign(json.loads(f'"{found[0]}"'), lines=True))[1:-1]


class Json(Response):
    """A value as JSON, written by msgspec: also dataclasses, and times, which are in UTC with a Z.

    Much faster than what FastAPI does to a value that a route returns: for lists return this.
    """

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return encoded(content)


class Prepared(Protocol):
    """JSON that many are sent."""

    @property
    def body(self) -> bytes: ...

    @property
    def body_gzip(self) -> bytes: ...


def prepared(request: Request, found: Prepared) -> Response:
    """It as a response, compressed where the browser takes that."""
    headers = {"vary": "accept-encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return Response(found.body_gzip, media_type="application/json", headers=headers)
    return Response(found.body, media_type="application/json", headers=headers)


class Problem(Exception):
    """An answer other than success: RFC 9457. `detail` is for people, and names the next step."""

    def __init__(self, status: int, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}
