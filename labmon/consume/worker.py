"""The loop that empties a queue: receive, handle, settle; and what to do when something is away."""

import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from threading import Event
from typing import Any, Protocol, TypeGuard, runtime_checkable

from psycopg import Connection

from labmon.brokers.base import Broker, Consumer, Delivery
from labmon.config import Consume
from labmon.consume.handlers import Handler
from labmon.errors import BrokerError, BrokerUnavailable, LabmonError, StoreError, StoreUnavailable
from labmon.messages import utcnow
from labmon.store.pool import Store

logger = logging.getLogger(__name__)


@runtime_checkable
class SharesDatabase(Protocol):
    """A consumer whose queue may be in the store's own database, where rows and ack can be one commit."""

    def can_ack_within(self, connection: Connection[Any]) -> bool:
        """True when the connection is to the database that the queue is in."""

    def ack_within(self, connection: Connection[Any], deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Ack in the caller's transaction. Returns those whose lease was lost."""


POLL = 0.5
"""Seconds that one `receive` waits; a stop is noticed this soon."""

LOOKS = 4
"""How often a batch that is not full is added to before it is stored. Each costs the broker something."""


class State(StrEnum):
    """What a worker is at."""

    starting = "starting"
    idle = "idle"
    busy = "busy"
    no_broker = "no broker"  #: it is away, and asked again and again
    no_database = "no database"  #: the same; what it holds goes back to the queue, or stays with it
    ended = "ended"
    silent = "silent"  #: its process has not been heard of for some time
    down = "down"  #: its process has died, and is about to be replaced

    @property
    def is_outage(self) -> bool:
        """True while something that it needs is away."""
        return self in (State.no_broker, State.no_database)

    @property
    def lacks(self) -> str:
        """What is away in an outage."""
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
    """What a worker did so far."""

    stored: int = 0
    rejected: int = 0
    last_batch: int | None = None  #: messages in it
    last_batch_at: datetime | None = None


@dataclass
class Backoff:
    """Growing waits with full jitter: 0.5 s at first, 30 s at most."""

    stop: Event
    attempt: int = 0

    def wait(self) -> None:
        """Sleep, unless stopped."""
        self.stop.wait(random.uniform(0, min(30.0, 0.5 * 2**self.attempt)))
        self.attempt = min(self.attempt + 1, 10)


class Worker:
    """Empties one queue into the store until told to stop.

    Each batch is stored in one transaction and acked after its commit. An unreadable message goes to the
    dead letters; one that fails for another reason is tried alone, so that only the culprit pays; a database
    that is away costs no message an attempt.
    """

    def __init__(
        self,
        queue: str,
        handle: Handler,
        open_broker: Callable[[], Broker],
        store: Store,
        settings: Consume,
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
        self._store_backoff = Backoff(stop)
        self._connected = False
        self._state = State.starting, utcnow()

    @property
    def progress(self) -> Progress:
        """What it is at, and what it did. For any thread."""
        state, since = self._state
        tally = self.tally
        return Progress(
            self.queue, state, since, tally.stored, tally.rejected, tally.last_batch, tally.last_batch_at
        )

    def run(self) -> None:
        """Work until stopped, or until the queue is empty.

        Raises BrokerRefused and StoreRefused; with `until_empty` also BrokerUnavailable, when it was never
        there.
        """
        try:
            self._run()
        finally:
            self._enter(State.ended)

    def _run(self) -> None:
        backoff = Backoff(self._stop)
        while not self._stop.is_set():
            try:
                with self._open_broker() as broker:
                    broker.declare(self.queue)
                    with broker.consume(self.queue, prefetch=2 * self._settings.batch) as consumer:
                        self._drain(broker, consumer, backoff)
                return
            except (BrokerUnavailable, StoreUnavailable) as error:
                if self._until_empty and not self._connected:
                    raise  # somebody waits for the end, and it may be a wrong address
                self._is_away(error)
                backoff.wait()

    def _drain(self, broker: Broker, consumer: Consumer, backoff: Backoff) -> None:
        self._shared = consumer if self._shares_database(consumer) else None
        self._connected = True
        # Who lets us in may still refuse to work: a database is back with the first batch that it has stored.
        if self._state[0] is not State.no_database:
            self._enter(State.idle)
        while not self._stop.is_set():
            deliveries = self._gather(consumer)
            backoff.attempt = 0
            if deliveries:
                if self._state[0] is not State.no_database:
                    self._enter(State.busy)
                self._settle(consumer, deliveries)
            else:
                self._enter(State.idle)
                if self._until_empty and self._is_empty(broker):
                    return

    def _gather(self, consumer: Consumer) -> list[Delivery]:
        """A full batch, or what has come by the time that its first message has waited long enough."""
        limit, patience = self._settings.batch, float(self._settings.flush)
        deliveries = consumer.receive(limit, POLL)
        if deliveries and not self._until_empty:
            due = time.monotonic() + patience
            while len(deliveries) < limit and (left := due - time.monotonic()) > 0:
                if self._stop.wait(min(left, patience / LOOKS)):
                    break
                deliveries += consumer.receive(limit - len(deliveries), 0)
        return deliveries

    def _enter(self, state: State) -> None:
        """Note the state, and say when an outage is over."""
        before, since = self._state
        if state is before:
            return
        now = utcnow()
        if before.is_outage and not state.is_outage and not self._stop.is_set():
            lasted = (now - since).total_seconds()
            logger.warning("%s: the %s is back, after %.0f s", self.queue, before.lacks, lasted)
        self._state = state, now

    def _is_away(self, error: LabmonError) -> None:
        """Say so, once."""
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
            self._store_backoff.attempt = 0
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
        said = " ".join(str(error).split()) or type(error).__name__
        if delivery.attempt >= self._settings.max_attempts:
            self._reject(consumer, [delivery], f"failed {delivery.attempt} times", said)
        else:
            logger.warning("%s: message %s failed: %s", self.queue, delivery.message.id, said)
            consumer.release([delivery], failed=True)

    def _store_batch(self, consumer: Consumer, deliveries: Sequence[Delivery]) -> None:
        if not deliveries:
            return
        with self._store.transaction() as connection:
            rejected = self._handle(connection, [one.message.body for one in deliveries])
            kept = [one for place, one in enumerate(deliveries) if place not in rejected]
            if self._shared:
                # Whoever has got one whose lease was lost meanwhile will find it stored, so commit anyway.
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
            self._store_backoff.wait()
            try:
                with self._store.transaction() as connection:
                    connection.execute("SELECT 1")
                return
            except StoreUnavailable as again:
                error = again
