"""Events through the handlers again: to restore lost data, or to fill in the past of something new."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from threading import Event

from labmon import pg
from labmon.errors import StoreError
from labmon.ingest.handlers import handlers
from labmon.ingest.settings import IngestSettings
from labmon.pg import Rollback
from labmon.readable import plural
from labmon.store import events
from labmon.store.pool import Store

_WITHOUT_ALERTS = "SET LOCAL labmon.replay = 'on'"
"""With this setting the trigger on readings evaluates no alert rules."""


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
    settings: IngestSettings,
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
    """Store the messages again that came to a queue in first <= time < past, in the order in which they came.

    What is stored already stays as it is, so a replay may be stopped anywhere and repeated. Alerts are
    evaluated and targets notified only with `notify`. A dry run does everything and rolls it back. Raises
    StoreError.
    """
    handle = handlers(settings, record=False, notify=notify)[queue]
    done = Replayed()
    after: events.EventBatch | None = None
    while not (stop and stop.is_set()):
        try:
            with store.transaction() as connection, connection.transaction() as attempt:
                if not notify:
                    connection.execute(_WITHOUT_ALERTS)
                batches = events.page(connection, queue, first, past, system=system, after=after)
                bodies = [body for batch in batches for body in batch.bodies]
                for start in range(0, len(bodies), settings.consume.batch):
                    rejected = handle(connection, bodies[start : start + settings.consume.batch])
                    done.reasons.update(rejection.reason for rejection in rejected.values())
                if dry_run:
                    raise Rollback(attempt)
        except pg.Error as error:
            raise StoreError(
                f"{queue}: the replay stopped after {plural(done.messages, 'message')}: {pg.one_line(error)}"
            ) from error
        if not batches:
            break
        after = batches[-1]
        done.messages += len(bodies)
        progress(done.messages)
    return done
