"""The loop that empties a queue: receive, store, acknowledge; and what happens during an outage."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from threading import Event
from typing import Any, Protocol, TypeGuard, runtime_checkable

from labmon.backoff import Backoff
from labmon.brokers.base import Broker, Consumer, Delivery
from labmon.config.tables import ConsumeConfig
from labmon.errors import BrokerError, BrokerUnavailable, LabmonError, StoreError, StoreUnavailable
from labmon.ingest.handlers import Handler
from labmon.messages import utcnow
from labmon.pg import Connection
from labmon.store.pool import Store

logger = logging.getLogger(__name__)


@runtime_checkable
class SharesDatabase(Protocol):
    """A consumer whose queue may be in the store's own database, where storing and acknowledging are one
    commit."""

    def can_ack_within(self, connection: Connection[Any]) -> bool:
        """True when the connection is to the database that the queue is in."""

    def ack_within(self, connection: Connection[Any], deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Ack in the caller's transaction. Returns those whose lease was lost."""


POLL = 0.5
"""Seconds that one `receive` waits; a stop is noticed this soon."""

TOP_UPS = 4
"""How often a batch that is not full is filled up before it is stored. Each time costs the broker
something."""


class State(StrEnum):
    """What a worker is doing."""

    starting = "starting"
    idle = "idle"
    busy = "busy"
    no_broker = "no broker"  #: it is away, and retried with backoff
    no_database = "no database"  #: the same; its messages go back to the queue, or stay with it
    ended = "ended"
    silent = "silent"  #: its process has sent no heartbeat for some time
    down = "down"  #: its process has died and will be replaced

    @property
    def is_outage(self) -> bool:
        """True while the broker or the database is away."""
        return self in (State.no_broker, State.no_database)

    @property
    def lacks(self) -> str:
        """What is away during an outage: broker or database."""
        return self.removeprefix("no ")


@dataclass(frozen=True, slots=True)
class Progress:
    """A worker as it is at this moment."""

    queue: str
    state: State
    since: datetime
    stored: int = 0
    rejected: int = 0
    last_batch: int | None = None  #: messages in it
    last_batch_at: datetime | None = None


@dataclass
class Tally:
    """The counts of a worker so far."""

    stored: int = 0
    rejected: int = 0
    last_batch: int | None = None  #: messages in it
    last_batch_at: datetime | None = None


class Worker:
    """Stores the messages of one queue until stopped.

    Each batch is stored in one transaction and acknowledged after its commit. An unreadable message goes to
    the dead letters. When a batch fails for another reason, its messages are stored one by one, and only the
    one that fails again is retried and at last rejected. An outage of the database costs no message an
    attempt.
    """

    def __init__(
        self,
        queue: str,
        handle: Handler,
        open_broker: Callable[[], Broker],
        store: Store,
        settings: ConsumeConfig,
        stop: Event,
        *,
        until_empty: bool = False,
    ) -> None:
        self.queue = queue
        self.tally = Tally()
        self._handle = handle
        self._open_broker = open_broker
        self._store = store
        self._settings = settings
        self._stop = stop
        self._until_empty = until_empty
        self._shared: SharesDatabase | None = None
        self._store_backoff = Backoff(jitter=1.0)
        self._connected = False
        self._state = State.starting, utcnow()

    @property
    def progress(self) -> Progress:
        """Its state and counts at this moment. For any thread."""
        state, since = self._state
        tally = self.tally
        return Progress(
            self.queue, state, since, tally.stored, tally.rejected, tally.last_batch, tally.last_batch_at
        )

    def run(self) -> None:
        """Work until stopped, or until the queue is empty.

        Raises BrokerRefused and StoreRefused; with `until_empty` also BrokerUnavailable, when it could never
        connect.
        """
        try:
            self._run()
        finally:
            self._enter(State.ended)

    def _run(self) -> None:
        backoff = Backoff(jitter=1.0)
        while not self._stop.is_set():
            try:
                with self._open_broker() as broker:
                    broker.declare(self.queue)
                    with broker.consume(self.queue, prefetch=2 * self._settings.batch) as consumer:
                        self._drain(broker, consumer, backoff)
                return
            except (BrokerUnavailable, StoreUnavailable) as error:
                if self._until_empty and not self._connected:
                    raise  # the user waits for the end, and the address may be wrong
                self._is_away(error)
                backoff.wait(self._stop)

    def _drain(self, broker: Broker, consumer: Consumer, backoff: Backoff) -> None:
        self._shared = consumer if self._shares_database(consumer) else None
        while not self._stop.is_set():
            # A broker that accepts connections may still give nothing: it is back after the first answer. A
            # database may still store nothing: it is back after the first stored batch.
            deliveries = self._gather(consumer)
            self._connected = True
            backoff.reset()
            if deliveries:
                if self._state[0] is not State.no_database:
                    self._enter(State.busy)
                self._settle(consumer, deliveries)
            else:
                self._enter(State.idle)
                if self._until_empty and self._is_empty(broker):
                    return

    def _gather(self, consumer: Consumer) -> list[Delivery]:
        """A full batch, or the messages that came while the first one waited for [consume] flush."""
        limit, longest = self._settings.batch, float(self._settings.flush)
        deliveries = consumer.receive(limit, POLL)
        if deliveries and not self._until_empty:
            due = time.monotonic() + longest
            while len(deliveries) < limit and (left := due - time.monotonic()) > 0:
                if self._stop.wait(min(left, longest / TOP_UPS)):
                    break
                deliveries += consumer.receive(limit - len(deliveries), 0)
        return deliveries

    def _enter(self, state: State) -> None:
        """Set the state, and log when an outage is over."""
        before, since = self._state
        if state is before:
            return
        now = utcnow()
        if before.is_outage and not state.is_outage and not self._stop.is_set():
            lasted = (now - since).total_seconds()
            logger.warning("%s: the %s is back, after %.0f s", self.queue, before.lacks, lasted)
        self._state = state, now

    def _is_away(self, error: LabmonError) -> None:
        """Set the state, and log an outage once."""
        state = State.no_database if isinstance(error, StoreUnavailable) else State.no_broker
        if self._state[0] is state:
            logger.info("%s: %s", self.queue, error)
        else:
            logger.warning("%s: %s; trying again until it is back", self.queue, error)
        self._enter(state)

    def _shares_database(self, consumer: Consumer) -> TypeGuard[SharesDatabase]:
        if not isinstance(consumer, SharesDatabase):
            return False
        with self._store.transaction() as connection:
            return consumer.can_ack_within(connection)

    def _is_empty(self, broker: Broker) -> bool:
        depth = broker.depth(self.queue)
        return depth.ready == 0 and not depth.in_flight

    def _settle(self, consumer: Consumer, deliveries: Sequence[Delivery]) -> None:
        expired = [one for one in deliveries if one.expired]
        if expired:
            self._reject(consumer, expired, "expired")
        fresh = [one for one in deliveries if not one.expired]
        try:
            self._store_batch(consumer, fresh)
            self._store_backoff.reset()
            self._enter(State.idle)
        except StoreUnavailable as error:
            consumer.release(fresh)
            self._wait_for_store(error)
        except (BrokerError, StoreError):  # no message's fault: closing the consumer gives them back
            raise
        except Exception as error:
            if len(fresh) == 1:
                self._failed(consumer, fresh[0], error)
                return
            logger.warning("%s: a batch of %d failed (%s); trying one by one", self.queue, len(fresh), error)
            self._one_by_one(consumer, fresh)

    def _one_by_one(self, consumer: Consumer, deliveries: Sequence[Delivery]) -> None:
        for place, delivery in enumerate(deliveries):
            try:
                self._store_batch(consumer, [delivery])
            except StoreUnavailable as error:
                consumer.release(deliveries[place:])
                self._wait_for_store(error)
                return
            except (BrokerError, StoreError):
                raise
            except Exception as error:
                self._failed(consumer, delivery, error)

    def _failed(self, consumer: Consumer, delivery: Delivery, error: Exception) -> None:
        text = " ".join(str(error).split()) or type(error).__name__
        if delivery.attempt >= self._settings.max_attempts:
            self._reject(consumer, [delivery], f"failed {delivery.attempt} times", text)
        else:
            logger.warning("%s: message %s failed: %s", self.queue, delivery.message.id, text)
            consumer.release([delivery], failed=True)

    def _store_batch(self, consumer: Consumer, deliveries: Sequence[Delivery]) -> None:
        if not deliveries:
            return
        with self._store.transaction() as connection:
            rejected = self._handle(
                connection, [one.message.body for one in deliveries], _redelivered(deliveries)
            )
            kept = [one for place, one in enumerate(deliveries) if place not in rejected]
            if self._shared:
                # A worker that got one whose lease was lost meanwhile will find it stored, so commit anyway.
                self._shared.ack_within(connection, kept)
        if not self._shared:
            consumer.ack(kept)
        self.tally.stored += len(kept)
        self.tally.last_batch, self.tally.last_batch_at = len(deliveries), utcnow()
        by_reason: defaultdict[str, list[Delivery]] = defaultdict(list)
        for place, rejection in rejected.items():
            by_reason[rejection.reason].append(deliveries[place])
        for reason, victims in by_reason.items():
            self._reject(consumer, victims, reason)

    def _reject(
        self, consumer: Consumer, deliveries: Sequence[Delivery], reason: str, error: str = ""
    ) -> None:
        consumer.reject(deliveries, reason, error)
        self.tally.rejected += len(deliveries)
        logger.warning("%s: %d to the dead letters: %s", self.queue, len(deliveries), reason)

    def _wait_for_store(self, error: StoreUnavailable) -> None:
        """Wait here, before receiving again, so that an outage costs no message an attempt."""
        while not self._stop.is_set():
            self._is_away(error)
            self._store_backoff.wait(self._stop)
            try:
                with self._store.transaction() as connection:
                    connection.execute("SELECT 1")
                return
            except StoreUnavailable as again:
                error = again


def _redelivered(deliveries: Sequence[Delivery]) -> dict[int, datetime]:
    """Those that another worker may have stored without being able to acknowledge them, by position."""
    return {
        place: one.enqueued_at or datetime.min.replace(tzinfo=UTC)
        for place, one in enumerate(deliveries)
        if one.attempt > 1
    }
