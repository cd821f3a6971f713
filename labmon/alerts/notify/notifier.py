"""Send the targets what waits for them: grouped, and retried until it arrives.

What waits stands in the store (`alerts.deliveries`) and is settled there after the target has taken it. A
crash in between repeats a notification, with the same id; none is lost. One process at a time sends, and each
target has a thread of its own, so that a slow target delays no other.
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from psycopg import Connection

from labmon import backoff
from labmon.alerts import deliveries
from labmon.alerts.deliveries import Waiting
from labmon.alerts.notify.facts import Style
from labmon.alerts.notify.notification import Notification
from labmon.alerts.notify.sender import Sender, SendFailed
from labmon.config.tables import NotifyConfig, NotifyTarget
from labmon.store.leader import claimed, only_one, release
from labmon.store.pool import Store

logger = logging.getLogger(__name__)

WORK = "notifier"
"""The name of the lock that makes it one process that sends."""

MOST = 5000
"""Alerts in one notification."""

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 900.0
"""Seconds between attempts: doubled each time, with jitter."""

POLL = 0.5
"""Seconds. How soon a stop is seen."""

LAST_WAIT = 2.0
"""Seconds that a stop waits for what is being sent."""

MAX_REQUESTS = 64
"""Requests to one target in one round, where it refuses notifications for their size."""


def open_sender(target: NotifyTarget, settings: NotifyConfig) -> Sender:
    """The sender for a target's url. Raises ConfigError for a url that nothing here understands."""
    if target.is_alertmanager:
        from labmon.alerts.notify.alertmanager import AlertmanagerSender

        return AlertmanagerSender(target.url, float(settings.timeout))
    if target.is_web:
        from labmon.alerts.notify.webhook import WebhookSender

        return WebhookSender(target.url, target.secret, float(settings.timeout))
    from labmon.alerts.notify.apprise_sender import AppriseSender

    return AppriseSender(target.name, target.url, float(settings.timeout))


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of some of the alerts of a round; no `failure`: the target took them."""

    target: str
    parts: tuple[Notification, ...]
    failure: SendFailed | None
    failures_before: int
    last: bool = False  #: of this round
    problem: str | None = None  #: with the target's template

    @property
    def ids(self) -> list[int]:
        """The deliveries it is about."""
        return [number for part in self.parts for number in part.ids]


class Notifier:
    """Sends to all targets of one configuration. Raises ConfigError for a url that no sender understands."""

    def __init__(
        self,
        settings: NotifyConfig,
        *,
        dashboard: str = "",
        open: Callable[[NotifyTarget, NotifyConfig], Sender] = open_sender,
    ) -> None:
        """`dashboard` is its address in the browser, for links; empty: there is none."""
        self._settings = settings
        self._senders = {target.name: open(target, settings) for target in settings.targets}
        self._targets = {target.name: target for target in settings.targets}
        self._styles = {target.name: Style.of(target, dashboard) for target in settings.targets}
        self._under_way: set[str] = set()
        self._unsent = 0
        self._done: SimpleQueue[_Outcome] = SimpleQueue()
        self._away: set[str] = set()  #: those that could not be sent again what still fires
        self._resent: dict[str, float] = {}  #: when what still fires was last sent, by the monotonic clock

    def run(self, store: Store, stop: threading.Event) -> None:
        """Send until `stop` is set, whenever no other process does."""
        only_one(store, WORK, lambda connection: self._watch(connection, stop), stop)

    def send_all(self, connection: Connection[Any], stop: threading.Event | None = None) -> int:
        """Send whatever waits, without waiting for more to group, and return when each target was tried once.

        Returns how many alerts did not arrive since their target fails, be it since an earlier attempt.

        A target that failed, or asked for a pause, is left alone until its time has come, whichever process
        met that. Says in the log when another process is sending and this one therefore cannot.
        """
        found = deliveries.waiting(connection)
        if not claimed(connection, WORK):
            if found:
                names = ", ".join(one.target for one in found)
                logger.warning("alerts wait for %s: another labmon process is sending notifications", names)
            return 0
        self._unsent = 0
        try:
            self._send_found(connection, found, stop)
            return self._unsent
        finally:
            release(connection, WORK)

    def _send_found(
        self, connection: Connection[Any], found: Sequence[Waiting], stop: threading.Event | None
    ) -> None:
        now = _now(connection)
        for one in found:
            if one.not_before and one.not_before > now:
                left = (one.not_before - now).total_seconds()
                logger.warning("alerts wait for %s, which failed: retry in %.0f s", one.target, left)
                self._unsent += len(deliveries.waiting_for(connection, one.target, limit=MOST))
            else:
                self._start(connection, one)
        self._wait(connection, stop)
        self._resend(connection)
        self._wait(connection, stop)

    def _wait(self, connection: Connection[Any], stop: threading.Event | None) -> None:
        """Until nothing is under way any more."""
        while self._under_way and not (stop and stop.is_set()):
            with suppress(Empty):
                self._settle(connection, self._done.get(timeout=POLL))

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
            self._resend(connection)
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
        """Send what waits for a target, in a thread of its own; give up what waited too long.

        What was acknowledged or silenced in the meantime is not sent.
        """
        # Read first: what arrives while these are checked has its turn next time.
        found = deliveries.waiting_for(connection, one.target, limit=MOST)
        with connection.transaction():
            target = self._targets.get(one.target)
            over = deliveries.withdraw(
                connection,
                one.target,
                ends=target is None or target.resolved,
                only_known=bool(target and target.after),
            )
            held = deliveries.hold(connection, one.target)
        if over:
            logger.info("%s: %d alerts no longer need a notification", one.target, len(over))
        if held:
            logger.info("%s: %d alerts are held because they are muted", one.target, len(held))
        found = [each for each in found if each.delivery_id not in {*over, *held}]
        latest = _now(connection) - timedelta(seconds=self._settings.retry_for)
        stale = [each for each in found if each.created_at < latest]
        if stale:
            known = one.target in self._senders
            reason = stale[0].error or "never tried" if known else "no target has this name any more"
            self._give_up(connection, one.target, [each.delivery_id for each in stale], reason)
        fresh = found[len(stale) :]
        sender = self._senders.get(one.target)
        if not fresh or sender is None:
            return
        notification = Notification.of(one.target, fresh, self._styles[one.target])
        self._in_background(one.target, lambda: self._send(sender, notification, one.failures))

    def _in_background(self, target: str, send: Callable[[], None]) -> None:
        """The only thing under way for this target until its last outcome is settled."""
        self._under_way.add(target)
        # A daemon: whatever a mail server does must not keep the process alive.
        threading.Thread(target=send, name=f"labmon-notify-{target}", daemon=True).start()

    def _resend(self, connection: Connection[Any]) -> None:
        """Send again what still fires, to the targets that forget it otherwise."""
        for target, sender in self._senders.items():
            before = self._resent.get(target, -math.inf)
            if not sender.resend or target in self._under_way or time.monotonic() < before + sender.resend:
                continue
            self._resent[target] = time.monotonic()
            firing = deliveries.still_firing(connection, target)
            if firing:
                notification = Notification.of(target, firing, self._styles[target])
                self._in_background(target, partial(self._keep_up, sender, notification))

    def _keep_up(self, sender: Sender, notification: Notification) -> None:
        target, failure = notification.target, _attempt(sender, notification)
        if failure and target not in self._away:
            logger.warning("%s: what still fires could not be sent again: %s", target, failure)
        (self._away.add if failure else self._away.discard)(target)
        self._done.put(_Outcome(notification.target, (), None, 0, last=True))

    def _send(self, sender: Sender, notification: Notification, before: int) -> None:
        """One round: what a target refuses for its size or contents is sent in halves.

        So at most the one alert that it cannot take is given up. A target that refuses everything is
        not at odds with one alert: then all are retried, unless its answer was final.
        """
        target = notification.target
        parts, requests, accepted = [notification], 0, False
        failure: SendFailed | None = None
        while parts and not (failure and failure.again):
            part, requests = parts.pop(0), requests + 1
            failure = _attempt(sender, part)
            if failure is None:
                accepted = True
                self._done.put(_Outcome(target, (part,), None, before, problem=part.problem))
            elif failure.refused and (halves := part.halves()):
                parts[:0] = halves
                failure = None if requests < MAX_REQUESTS else SendFailed(str(failure))
            elif failure.again and not (failure.refused and accepted):
                parts.insert(0, part)
            else:
                self._done.put(_Outcome(target, (part,), SendFailed(str(failure), again=False), before))
                failure = None
        self._done.put(_Outcome(target, tuple(parts), failure, before, last=True))

    def _settle(self, connection: Connection[Any], outcome: _Outcome) -> None:
        target, failure = outcome.target, outcome.failure
        if outcome.last:
            self._under_way.discard(target)
        if not outcome.parts:
            return
        if failure:
            self._unsent += len(outcome.ids)
        if failure and not failure.again:
            self._give_up(connection, target, outcome.ids, str(failure))
        elif failure:
            pause = backoff.delay(outcome.failures_before + 1, first=FIRST_PAUSE, longest=LONGEST_PAUSE)
            pause = max(failure.after, pause)
            with connection.transaction():
                until = _now(connection) + timedelta(seconds=pause)
                deliveries.postpone(connection, target, outcome.ids, str(failure), until)
            logger.warning("%s could not be notified: %s; retry in %.0f s", target, failure, pause)
        else:
            with connection.transaction():
                sent = [one.delivery_id for part in outcome.parts for one in part.current]
                superseded = [one.delivery_id for part in outcome.parts for one in part.superseded]
                deliveries.settle(connection, sent, "sent", outcome.problem)
                deliveries.settle(connection, superseded, "superseded")
                deliveries.reached(connection, target, _now(connection))
            logger.info("%s: notified of %d alerts", target, len(sent))

    def _give_up(self, connection: Connection[Any], target: str, ids: list[int], reason: str) -> None:
        deliveries.settle(connection, ids, "failed", reason)
        logger.error(
            "%s was not notified of %d alerts: %s. See: labmon alerts deliveries", target, len(ids), reason
        )


def _attempt(sender: Sender, notification: Notification) -> SendFailed | None:
    try:
        sender.send(notification)
    except SendFailed as error:
        return error
    except Exception as error:
        logger.exception("a bug, met while notifying %s", notification.target)
        return SendFailed(f"a bug: {type(error).__name__}")
    return None


def _now(connection: Connection[Any]) -> datetime:
    """By the database's clock, which is one for all processes."""
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row
    at: datetime = row[0]
    return at
