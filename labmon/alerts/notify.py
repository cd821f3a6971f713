"""Tell the targets what waits for them: together what comes together, again and again until it arrives.

What is to be told stands in the store (`store.deliveries`), and is settled there after the target has taken
it. A crash in between repeats a notification, with the same id; none is ever lost. One process tells, and
each target has a thread of its own, so that a slow one delays no other.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Any

from psycopg import Connection

from labmon.alerts.notification import Notification
from labmon.alerts.sender import Sender, SendFailed
from labmon.config import Notify, Target
from labmon.store import deliveries
from labmon.store.deliveries import Waiting
from labmon.store.pool import Store
from labmon.store.sole import claimed, only_one

logger = logging.getLogger(__name__)

WORK = "notifier"
"""What the lock is called that makes it one process that tells."""

MOST = 5000
"""Alerts in one notification."""

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 900.0
"""Seconds between attempts: doubled each time, with jitter."""

POLL = 0.5
"""Seconds. How soon a stop is seen."""

LAST_WAIT = 2.0
"""Seconds that a stop waits for what is just being sent."""


def open_sender(target: Target, settings: Notify) -> Sender:
    """The way to a target. Raises ConfigError for a url that nothing here understands."""
    if target.url.startswith(("http://", "https://")):
        from labmon.alerts.webhook import Webhook

        return Webhook(target.url, target.secret, float(settings.timeout))
    from labmon.alerts.services import Service

    return Service(target.name, target.url)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of one attempt; no `failure`: it was taken."""

    notification: Notification
    failure: SendFailed | None
    before: int  #: attempts in vain before this one


class Notifier:
    """Tells all targets of one configuration. Raises ConfigError for a url that nothing here understands."""

    def __init__(self, settings: Notify, *, open: Callable[[Target, Notify], Sender] = open_sender) -> None:
        self._settings = settings
        self._senders = {target.name: open(target, settings) for target in settings.targets}
        self._without_ends = {target.name for target in settings.targets if not target.resolved}
        self._under_way: set[str] = set()
        self._done: SimpleQueue[_Outcome] = SimpleQueue()

    def run(self, store: Store, stop: threading.Event) -> None:
        """Tell until `stop` is set, whenever no other process does."""
        only_one(store, WORK, lambda connection: self._watch(connection, stop), stop)

    def tell_all(self, connection: Connection[Any]) -> None:
        """Tell at once whatever waits, without waiting for company, and return when each was tried once.

        Unless another process is just telling them.
        """
        if not claimed(connection, WORK):
            return
        for one in deliveries.waiting(connection):
            self._start(connection, one)
        while self._under_way:
            self._settle(connection, self._done.get())

    def _watch(self, connection: Connection[Any], stop: threading.Event) -> None:
        connection.execute("LISTEN labmon_deliveries")
        while not stop.is_set():
            now = _now(connection)
            pause = POLL
            for one in deliveries.waiting(connection):
                left = (self._due_at(one) - now).total_seconds()
                if one.target in self._under_way:
                    continue
                if left <= 0:
                    self._start(connection, one)
                else:
                    pause = min(pause, left)
            if self._under_way:
                with suppress(Empty):
                    self._settle(connection, self._done.get(timeout=POLL / 5))
            else:
                for _ in connection.notifies(timeout=pause, stop_after=1):
                    pass
        until = time.monotonic() + LAST_WAIT
        with suppress(Empty):
            while self._under_way:
                self._settle(connection, self._done.get(timeout=max(0.0, until - time.monotonic())))

    def _due_at(self, one: Waiting) -> datetime:
        wait = timedelta(seconds=self._settings.group_wait)
        due = one.oldest + wait
        if one.sent_at:
            due = max(due, one.sent_at + timedelta(seconds=self._settings.group_interval))
        if one.oldest_critical:
            due = min(due, one.oldest_critical + wait)
        return max(due, one.not_before) if one.not_before else due

    def _start(self, connection: Connection[Any], one: Waiting) -> None:
        """Send what waits for a target, in a thread of its own; what waited too long is given up.

        What somebody has acknowledged meanwhile, for one, is not sent, nor what has been silenced.
        """
        # Read first: whatever comes while these are looked at has its turn next time.
        found = deliveries.waiting_for(connection, one.target, limit=MOST)
        with connection.transaction():
            over = deliveries.withdraw(connection, one.target, ends=one.target not in self._without_ends)
            held = deliveries.hold(connection, one.target)
        if over:
            logger.info("%s: %d alerts need not be told any more", one.target, len(over))
        if held:
            logger.info("%s: %d alerts are held, being muted", one.target, len(held))
        found = [each for each in found if each.delivery_id not in {*over, *held}]
        latest = _now(connection) - timedelta(seconds=self._settings.retry_for)
        stale = [each for each in found if each.created_at < latest]
        if stale:
            known = one.target in self._senders
            reason = stale[0].error or "nobody tried" if known else "no target has this name any more"
            self._give_up(connection, one.target, [each.delivery_id for each in stale], reason)
        fresh = found[len(stale) :]
        sender = self._senders.get(one.target)
        if not fresh or sender is None:
            return
        notification = Notification.of(one.target, fresh)
        self._under_way.add(one.target)
        # A daemon: whatever a mail server does must not keep the process alive.
        threading.Thread(
            target=self._send,
            args=[sender, notification, one.failures],
            name=f"labmon-notify-{one.target}",
            daemon=True,
        ).start()

    def _send(self, sender: Sender, notification: Notification, before: int) -> None:
        try:
            sender.send(notification)
            failure = None
        except SendFailed as error:
            failure = error
        except Exception as error:
            logger.exception("a bug, met while telling %s", notification.target)
            failure = SendFailed(f"a bug: {type(error).__name__}")
        self._done.put(_Outcome(notification, failure, before))

    def _settle(self, connection: Connection[Any], outcome: _Outcome) -> None:
        notification, failure = outcome.notification, outcome.failure
        target = notification.target
        self._under_way.discard(target)
        if failure is None:
            with connection.transaction():
                told = [one.delivery_id for one in notification.current]
                deliveries.settle(connection, told, "sent")
                deliveries.settle(
                    connection, [one.delivery_id for one in notification.superseded], "superseded"
                )
                deliveries.reached(connection, target, _now(connection))
            logger.info("%s: told of %d alerts", target, len(told))
        elif failure.again:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(outcome.before, 20))
            pause = max(failure.after, random.uniform(0.5, 1.0) * pause)
            with connection.transaction():
                until = _now(connection) + timedelta(seconds=pause)
                deliveries.postpone(connection, target, notification.ids, str(failure), until)
            logger.warning("%s could not be told: %s; again in %.0f s", target, failure, pause)
        else:
            self._give_up(connection, target, notification.ids, str(failure))

    def _give_up(self, connection: Connection[Any], target: str, ids: list[int], reason: str) -> None:
        deliveries.settle(connection, ids, "failed", reason)
        logger.error(
            "%s was not told of %d alerts: %s. See: labmon alerts deliveries", target, len(ids), reason
        )


def _now(connection: Connection[Any]) -> datetime:
    """By the database's clock, which is one for all processes."""
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row
    at: datetime = row[0]
    return at
