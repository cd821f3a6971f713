"""Static files, at a path that holds the hash of all of them: browsers may keep them for ever."""

import hashlib
from functools import cache
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parents[1] / "static"


@cache
def content_hash() -> str:
    """Of all files: what is changed is served at another path. Imports are relative, and inherit it."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(FOLDER)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def has_module(page: str) -> bool:
    """True when the page has a module of its own."""
    return (FOLDER / "pages" / f"{page}.js").is_file()


class ForEver(StaticFiles):
    """Files whose path changes when they do."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code == 200:
            response.headers["cache-control"] = "public, max-age=31536000, immutable"
            for name in ("etag", "last-modified"):  # nobody asks again
                del response.headers[name]
        return response
