"""Events through the handlers again: to rebuild what was lost, or to give something new its past."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event

import psycopg
from psycopg import Rollback

from labmon import pg
from labmon.config import Config
from labmon.consume.handlers import handlers
from labmon.errors import StoreError
from labmon.store import events
from labmon.store.pool import Store

_QUIETLY = "SET LOCAL labmon.replay = 'on'"
"""What alerts look at before they tell anybody."""


@dataclass
class Replayed:
    """What a replay did, or would do."""

    messages: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  #: of what was not stored this time

    @property
    def rejected(self) -> int:
        """How many of the messages were not stored this time."""
        return self.reasons.total()


def replay(
    store: Store,
    config: Config,
    queue: str,
    first: datetime,
    past: datetime,
    *,
    system: int | None = None,
    notify: bool = False,
    dry_run: bool = False,
    stop: Event | None = None,
    progress: Callable[[int], None] = lambda messages: None,
) -> Replayed:
    """Handle what came to a queue in first <= time < past once more, in the order in which it came.

    What is stored already stays as it is, so a replay may be stopped anywhere and repeated. Nobody is
    notified unless asked for. A dry run does it all and takes it back. Raises StoreError.
    """
    handle = handlers(config, record=False, notify=notify)[queue]
    done = Replayed()
    after: events.Batch | None = None
    while not (stop and stop.is_set()):
        try:
            with store.transaction() as connection, connection.transaction() as attempt:
                if not notify:
                    connection.execute(_QUIETLY)
                batches = events.page(connection, queue, first, past, system=system, after=after)
                bodies = [body for batch in batches for body in batch.bodies]
                for start in range(0, len(bodies), config.consume.batch):
                    rejected = handle(connection, bodies[start : start + config.consume.batch])
                    done.reasons.update(rejection.reason for rejection in rejected.values())
                if dry_run:
                    raise Rollback(attempt)
        except psycopg.Error as error:
            raise StoreError(
                f"{queue}: the replay stopped after {done.messages} messages: {pg.one_line(error)}"
            ) from error
        if not batches:
            break
        after = batches[-1]
        done.messages += len(bodies)
        progress(done.messages)
    return done
