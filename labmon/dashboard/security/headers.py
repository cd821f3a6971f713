"""The headers of every response, added below the framework, whose own way holds up streams."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types labmon",
    ]
)
"""Nothing from elsewhere, nothing inline, no HTML made of strings. `labmon` is the policy of live.js, for the
address of its worker."""

_FILES = {
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
}
"""Of scripts and style sheets, two dozen of which are sent for a page: the rest says nothing about them."""

_ALWAYS = _FILES | {
    "content-security-policy": POLICY,
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

_LOOPBACK = ("localhost", "127.", "[::1]")


class SecurityHeaders:
    """Adds them to what the application sends, and forbids caches to keep what says nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope.get("path", "").removeprefix(scope.get("root_path", ""))
        # A worker is ruled by the policy of its own script.
        may_be_file = path.startswith("/static/") and path.endswith((".js", ".css")) and "worker" not in path
        secure = scope.get("scheme") == "https"
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                is_file = may_be_file and message["status"] < 400  # an error is a document, whatever its path
                for name, value in (_FILES if is_file else _ALWAYS).items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
                if not is_file and (secure or host.startswith(_LOOPBACK)):
                    # On plain http browsers ignore it, and log an error.
                    headers.setdefault("cross-origin-opener-policy", "same-origin")
                if secure:
                    headers.setdefault("strict-transport-security", "max-age=31536000")
            await send(message)

        await self._app(scope, receive, send_with_headers)
