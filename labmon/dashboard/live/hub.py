"""Changes to all who listen: looked for once, and only while somebody does."""

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from labmon.dashboard.live.changes import Changes
from labmon.errors import LabmonError
from labmon.pg import Error
from labmon.store.listen import listen
from labmon.store.pool import Store

logger = logging.getLogger(__name__)

POLL = 2.0
"""Seconds between two looks when nothing wakes us."""

LEAST = 0.2
"""Seconds between two looks whatever wakes us."""

WAITING = 32
"""Messages that wait for one listener. One with more is too slow, and is dropped: it comes back by itself."""

CHANNELS = ("labmon_alerts", "labmon_deliveries")


class Listener:
    """One open stream. Lives in the event loop."""

    def __init__(self, first: bytes, owner: str = "") -> None:
        self.owner = owner
        self.messages: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING)
        self.task: asyncio.Task[object] | None = None
        """Which sends to it; cancelled when it is dropped, since it may hang in the send."""
        self.is_dropped = False
        if first:
            self.messages.put_nowait(first)

    def put(self, message: bytes | None) -> bool:
        """Queue a message, None for the end; False when there is no room."""
        try:
            self.messages.put_nowait(message)
        except asyncio.QueueFull:
            return False
        return True

    def drop(self) -> None:
        """End it, whatever it is at."""
        self.is_dropped = True
        if not self.put(None) and self.task is not None:
            self.task.cancel()


class Hub:
    """Looks for changes in a thread of its own while there are listeners. All methods are for the event loop,
    `wake` is for any thread."""

    def __init__(self, store: Store, make: Callable[[], Changes]) -> None:
        self._store = store
        self._make = make
        self._listeners: set[Listener] = set()
        self._thread: _Looking | None = None
        self._closed = False

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return len(self._listeners)

    def streams_of(self, owner: str) -> int:
        """How many of them are one user's."""
        return sum(one.owner == owner for one in self._listeners)

    def join(self, owner: str = "") -> Listener:
        """Begin to listen. The first message is the state of now, where it is known."""
        if self._thread is None and not self._closed:
            self._thread = _Looking(self._store, self._make(), asyncio.get_running_loop(), self._send)
            self._thread.start()
        listener = Listener(self._thread.changes.first() if self._thread else b"", owner)
        if self._closed:
            listener.drop()
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Listen no more. With the last one the looking ends."""
        self._listeners.discard(listener)
        if not self._listeners and self._thread is not None:
            self._thread.stop()
            self._thread = None

    def wake(self) -> None:
        """Look now."""
        if thread := self._thread:
            thread.wake()

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        for listener in list(self._listeners):
            listener.drop()

    def _send(self, sender: "_Looking", message: bytes) -> None:
        if sender is not self._thread:
            return
        for listener in list(self._listeners):
            if not listener.put(message):
                logger.info("a live client was too slow, and was dropped")
                self._listeners.discard(listener)
                listener.drop()


class _Looking(threading.Thread):
    """Looks, and hands what it finds to the event loop."""

    def __init__(
        self,
        store: Store,
        changes: Changes,
        loop: asyncio.AbstractEventLoop,
        send: "Callable[[_Looking, bytes], None]",
    ) -> None:
        super().__init__(name="live", daemon=True)
        self.changes = changes
        self._store = store
        self._loop = loop
        self._send = send
        self._ended = threading.Event()
        self._woken = threading.Event()

    def stop(self) -> None:
        """Look no more. Does not wait."""
        self._ended.set()
        self._woken.set()

    def wake(self) -> None:
        """Look now."""
        self._woken.set()

    def run(self) -> None:
        """Look at every wake-up and every `POLL` seconds."""
        threading.Thread(target=self._listen, name="live wake-up", daemon=True).start()
        while not self._ended.is_set():
            self._woken.clear()
            self.changes.look(self._hand)
            self._ended.wait(LEAST)
            self._woken.wait(POLL - LEAST)

    def _hand(self, message: bytes) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            self._loop.call_soon_threadsafe(self._send, self, message)

    def _listen(self) -> None:
        """A wake-up, without which changes are found by looking. Notices first when the database goes away:
        a look may be waiting for it."""
        is_listening = False

        def heard() -> None:
            nonlocal is_listening
            is_listening = True
            self.wake()

        while not self._ended.is_set():
            try:
                listen(self._store, CHANNELS, self._ended, heard)
            except (LabmonError, Error) as error:
                if is_listening:  # not where it never began: there may be no connection left for this
                    self.changes.lost(str(error), self._hand)
                is_listening = False
                self._ended.wait(POLL)
