"""Whose password is compared next: each address in turn, so that nobody waits behind another's guesses."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

AT_ONCE = 2
"""A comparison takes a quarter of a second of a core and 32 MiB."""

WAITING = 30
"""Of one address: a room of students may share it."""

MOST = 300
"""Of all addresses together."""


class Crowded(Exception):
    """Too many wait already."""


class Turns:
    """Gives turns, in the event loop: who waits holds no thread.

    One source, usually an address, has one turn at a time, whatever it sends. Those from which attempts have
    failed lately come after all others.
    """

    def __init__(self) -> None:
        self._working: set[str] = set()
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._last: set[str] = set()

    @asynccontextmanager
    async def turn(self, source: str, *, is_last: bool = False) -> AsyncIterator[None]:
        """Wait for a turn and hold it within the block. `is_last`: behind the sources that are not.

        Raises Crowded.
        """
        (self._last.add if is_last else self._last.discard)(source)
        queue = self._waiting.setdefault(source, deque())
        if len(queue) >= WAITING or sum(map(len, self._waiting.values())) >= MOST:
            self._tidy(source)
            raise Crowded
        turn = asyncio.get_running_loop().create_future()
        queue.append(turn)
        self._next()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._end(source)  # it came at the same moment
            else:
                with suppress(ValueError):
                    queue.remove(turn)
                self._tidy(source)
            raise
        try:
            yield
        finally:
            self._end(source)

    def _end(self, source: str) -> None:
        self._working.discard(source)
        if source in self._waiting:
            self._waiting.move_to_end(source)
        self._tidy(source)
        self._next()

    def _next(self) -> None:
        """Give the turns that are free."""
        while len(self._working) < AT_ONCE:
            ready = [one for one, queue in self._waiting.items() if queue and one not in self._working]
            if not ready:
                return
            source = next((one for one in ready if one not in self._last), ready[0])
            turn = self._waiting[source].popleft()
            if not turn.done():
                self._working.add(source)
                turn.set_result(None)

    def _tidy(self, source: str) -> None:
        if not self._waiting.get(source) and source not in self._working:
            self._waiting.pop(source, None)
            self._last.discard(source)
