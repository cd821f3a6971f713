"""Changes as they happen: server-sent events."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from labmon.dashboard.access import Viewer, caller_of
from labmon.dashboard.api import problems
from labmon.dashboard.context import Uses
from labmon.dashboard.live.hub import Hub, Listener
from labmon.dashboard.web import Problem
from labmon.errors import LabmonError

router = APIRouter(tags=["live"])

PING = 15.0
"""Seconds between two signs of life."""

CHECK = 4.0
"""Seconds between two looks whether the login still holds."""

MOST = 20
"""Streams of one user: a browser opens one, however many its tabs are."""

RETRY = 2000
"""Milliseconds after which a browser connects again."""


class EventStream(Response):
    """Sends what a listener gets, until either side ends it, or nobody is logged in any more."""

    media_type = "text/event-stream"

    def __init__(self, hub: Hub, owner: str, is_allowed: Callable[[], bool]) -> None:
        super().__init__(headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._hub = hub
        self._owner = owner
        self._is_allowed = is_allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Join the hub, and leave it whatever happens."""
        if scope.get("is_head"):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await send({"type": "http.response.body"})
            return
        if self._hub.streams_of(self._owner) >= MOST:
            text = f"{self._owner} has {MOST} streams open: close one"
            await problems.answer(Problem(429, text, headers={"retry-after": "5"}))(scope, receive, send)
            return
        listener = self._hub.join(self._owner)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        except BaseException:
            self._hub.leave(listener)
            raise
        sending = asyncio.create_task(self._send(listener, send))
        leaving = asyncio.create_task(_gone(receive))
        listener.task = sending
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._hub.leave(listener)
            for task in (sending, leaving):
                task.cancel()
                with suppress(asyncio.CancelledError, OSError):
                    await task

    async def _send(self, listener: Listener, send: Send) -> None:
        async def write(data: bytes, more: bool = True) -> None:
            await send({"type": "http.response.body", "body": data, "more_body": more})

        await write(f"retry: {RETRY}\n\n".encode())
        ping_at, check_at = time.monotonic() + PING, time.monotonic() + CHECK
        while not listener.is_dropped:
            now = time.monotonic()
            if now >= check_at:
                if not await to_thread.run_sync(self._is_allowed):
                    break
                check_at = now + CHECK
            if now >= ping_at:
                await write(b": ping\n\n")
                ping_at = now + PING
            try:
                message = await asyncio.wait_for(listener.messages.get(), min(ping_at, check_at) - now)
            except TimeoutError:
                continue
            if message is None:
                break
            await write(message)
        await write(b"", more=False)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@router.get("/stream", response_class=EventStream, status_code=200)
async def stream(request: Request, caller: Viewer, context: Uses) -> Response:
    """Changes as they happen.

    Events: summary, systems {sequence, columns, rows, removed}, alerts {items}, queues, problem {detail},
    reset. Every 15 s a ping. Nothing is replayed: after a reset or a new connection, read the rest again.
    """

    def is_allowed() -> bool:
        try:
            return caller_of(request, context) is not None
        except Problem:
            return False
        except LabmonError:
            return True  # the database is away, which says nothing about the login

    return EventStream(context.live.hub, caller.name, is_allowed)
