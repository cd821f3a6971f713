"""A limit on the size of what is sent to us."""

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from labmon.dashboard.security.hosts import Refuse

TOO_LARGE = 413


class LimitedBody:
    """Refuses a body that says it is larger, and stops reading one that becomes so."""

    def __init__(self, app: ASGIApp, most: int, refuse: Refuse) -> None:
        self._app = app
        self._most = most
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        names = {name for name, _ in scope["headers"]}
        if {b"content-length", b"transfer-encoding"} <= names:
            # A proxy that goes by the other one sees another request begin (RFC 9112, 6.1).
            await self._refuse(*(scope, receive, _closing(send)), 400, "the body has two lengths")
            return
        said = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not said.isdigit() or int(said[:20]) > self._most:
            text = f"the body is larger than the {self._most} bytes that this server takes"
            await self._refuse(scope, receive, send, TOO_LARGE, text)
            return
        size = 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._most:
                raise HTTPException(TOO_LARGE)
            return message

        try:
            await self._app(scope, limited, send)
        except ClientDisconnect:
            pass  # nobody is there to be answered: no fault of ours, and nothing for the log


def _closing(send: Send) -> Send:
    """The same, and the connection ends with the answer."""

    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    return closing
