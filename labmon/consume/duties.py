"""What `labmon consume` does beside its workers. Each duty has a thread: none may keep another waiting."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

import psycopg

from labmon.alerts.tick import EVERY
from labmon.config import Config
from labmon.consume.alerting import Alerting
from labmon.consume.depths import Depths
from labmon.consume.register import Member, Register
from labmon.errors import AlreadyRunning, LabmonError
from labmon.store import housekeeping
from labmon.store.pool import Store

logger = logging.getLogger(__name__)

BEAT = 2.0
"""Seconds between two writings of the `workers` table."""

LOOK = 2.0
"""Seconds between two looks at how deep the queues are."""

HOUSEKEEPING = 60.0
"""Seconds between two rounds of housekeeping. Those who work beside each other take turns by its lock."""

AGAIN = 30.0
"""Seconds until one that should have gone on until the end, and did not, is begun anew."""

PATIENCE = 5.0
"""Seconds that the end waits for those that hang."""


class Duties:
    """Enter to begin with them, leave to end them."""

    def __init__(
        self,
        config: Config,
        store: Store,
        depths: Depths,
        alerting: Alerting | None,
        members: Callable[[], list[Member]],
    ) -> None:
        """Without `alerting` nobody is told of anything by this process."""
        register = Register()
        self._config = config
        self._store = store
        leave = partial(register.write, store, [])  # whoever ends as it should leaves no row
        self._stop = threading.Event()
        self._threads = [
            self._duty("workers", BEAT, lambda: register.write(store, members()), leave),
            self._duty("depths", LOOK, depths.look, depths.close),
            self._duty("housekeeping", HOUSEKEEPING, self._keep_house),
        ]
        if alerting:
            self._threads += [
                self._duty("alerts", EVERY, alerting.look),
                self._duty("relay", AGAIN, partial(alerting.relay, self._stop)),
                self._duty("notify", AGAIN, partial(alerting.notify, self._stop)),
            ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        deadline = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _keep_house(self) -> None:
        with suppress(AlreadyRunning):
            housekeeping.tick(self._store, self._config, stop=self._stop)

    def _duty(
        self, name: str, seconds: float, act: Callable[[], None], end: Callable[[], None] | None = None
    ) -> threading.Thread:
        def run() -> None:
            while not self._stop.is_set():
                _attempt(name, act)
                self._stop.wait(seconds)
            if end:
                _attempt(name, end)

        return threading.Thread(target=run, name=name, daemon=True)


def _attempt(name: str, act: Callable[[], None]) -> None:
    """What fails is tried again the next time, and no more than a note: the workers say what is away."""
    try:
        act()
    except (LabmonError, psycopg.Error, OSError) as error:
        logger.info("%s: %s", name, error)
