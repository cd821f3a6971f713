"""The server: one process, an event loop, a call when it is ready."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Generator, Sequence
from typing import Any

import uvicorn

from labmon.consume.background import BackgroundTasks
from labmon.dashboard import connections
from labmon.dashboard.app import create_app
from labmon.dashboard.context import Context
from labmon.dashboard.security import certificate
from labmon.errors import ConfigError
from labmon.systemd import notify, watchdog

GRACE = 1
"""Seconds for responses under way when the server stops. Streams end at once: see `Context.on_stop`."""

logger = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "::1")


class Server(uvicorn.Server):
    """Ends streams before it waits for the responses under way."""

    def __init__(self, config: uvicorn.Config, context: Context, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._context = context
        self._ready = ready
        self.signals: list[int] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """uvicorn waits for open streams, and runs an application's own shutdown only afterwards."""
        notify("STOPPING=1")
        for end in self._context.on_stop:
            end()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """The first signal stops the server, the second one at once. uvicorn would raise them again later."""

        def handle(number: int, _: object) -> None:
            self.signals.append(number)
            self.force_exit = self.should_exit
            self.should_exit = True

        handlers: dict[signal.Signals, Callable[[int, Any], None]] = {
            signal.SIGINT: handle,
            signal.SIGTERM: handle,
            signal.SIGHUP: self._reload,
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _reload(self, _number: int, _frame: object) -> None:
        """Read the certificate and its key again; connections that are open keep the old ones."""
        settings = self._context.config.dashboard
        if self.config.ssl is None:
            return
        try:
            certificate.check(settings)  # on a context of its own: a bad file must not spoil the one in use
            self.config.ssl.load_cert_chain(settings.certificate, settings.key, password=lambda: "")
        except (ConfigError, OSError, ValueError) as error:
            logger.error("the certificate was not reloaded, the old one stays in use: %s", error)
        else:
            logger.warning("the certificate was reloaded: %s", settings.certificate)
            certificate.log_warnings(settings)


async def _alive() -> None:
    notify("WATCHDOG=1")


def serve(context: Context, listener: socket.socket, ready: Callable[[], None]) -> Sequence[int]:
    """Serve on a socket that listens until a signal ends it; `ready` is called once it answers.

    The certificate has passed `certificate.check`. Returns the signals that came.
    """
    settings = context.config.dashboard
    # Its warnings are about what strangers send. What an application raises, it logs as an error.
    log = logging.getLogger("uvicorn")
    log.handlers[:] = logging.getLogger("labmon").handlers
    log.setLevel(logging.ERROR)
    log.propagate = False
    if listener.family in (socket.AF_INET, socket.AF_INET6):
        # asyncio sets it only where the socket names its protocol. Without it the second packet of a response
        # waits 40 ms for the client's acknowledgement of the first.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    limited = connections.Listener(listener, connections.most_connections())
    config = uvicorn.Config(
        create_app(context),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=[*LOOPBACK, *settings.proxies],
        ssl_certfile=settings.certificate or None,
        ssl_keyfile=settings.key or None,
        timeout_graceful_shutdown=GRACE,
        callback_notify=_alive,
        timeout_notify=max(1, int((watchdog() or 30) / 3)),
        ws="none",
        http=connections.protocol(limited),
        timeout_keep_alive=connections.IDLE,
    )
    server = Server(config, context, ready)
    with limited, BackgroundTasks(context.live.tasks()):
        asyncio.run(server.serve([limited]))
    return server.signals
