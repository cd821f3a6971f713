"""Tasks that `labmon consume` runs beside its workers, each in its own thread: none keeps another waiting."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from labmon import pg
from labmon.errors import LabmonError

logger = logging.getLogger(__name__)

END_TIMEOUT = 5.0
"""Seconds that the end waits for tasks that hang."""


@dataclass(frozen=True)
class Task:
    """Something to do again and again. One that runs until it is stopped is begun anew when it ends early."""

    name: str
    interval: float  #: seconds between two runs
    run: Callable[[threading.Event], None]
    """Gets the event that is set when the tasks are to end."""
    end: Callable[[], None] | None = None  #: run last, in the same thread


class BackgroundTasks:
    """Enter to start them, leave to end them.

    A task that fails is run again after its interval; that is logged at level info, since the workers tell
    the user what is away.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._stop = threading.Event()
        # Daemons, so that one that hangs in a dead connection does not keep the process alive.
        self._threads = [
            threading.Thread(target=self._repeat, args=[task], name=task.name, daemon=True) for task in tasks
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        deadline = time.monotonic() + END_TIMEOUT
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _repeat(self, task: Task) -> None:
        while not self._stop.is_set():
            _attempt(task.name, lambda: task.run(self._stop))
            self._stop.wait(task.interval)
        if task.end:
            _attempt(task.name, task.end)


def _attempt(name: str, act: Callable[[], None]) -> None:
    try:
        act()
    except (LabmonError, pg.Error, OSError) as error:
        logger.info("%s: %s", name, error)
