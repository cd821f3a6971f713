"""What a sender is, what can come of an attempt, and the deadline that every attempt has."""

import threading
from collections.abc import Callable
from typing import Protocol

from labmon.alerts.notify.notification import Notification


class SendFailed(Exception):
    """The target did not take the notification. The text is one line and holds no secret.

    `again`: another attempt may succeed. `after`: not before this many seconds, as the target asked for.
    `refused`: the target did not like what it was sent, so fewer alerts at once may fare better.
    """

    def __init__(self, reason: str, *, again: bool = True, after: float = 0, refused: bool = False) -> None:
        super().__init__(reason)
        self.again = again
        self.after = after
        self.refused = refused


class Sender(Protocol):
    """The connection to one target. Threads may share it."""

    @property
    def resend(self) -> float:
        """Seconds after which what still fires is to be sent again, though nothing is new; 0: never."""

    def send(self, notification: Notification) -> None:
        """Return when the target has taken it. Raises SendFailed, and nothing else."""


def within(seconds: float, send: Callable[[], None]) -> None:
    """Run one attempt, for at most this long. Raises what it raises, and SendFailed at the deadline.

    The timeouts of libraries are for one read: a server that sends a byte a second never exceeds them. The
    attempt runs in a daemon thread, so what is given up cannot keep the process alive.
    """
    raised: list[BaseException | None] = []

    def attempt() -> None:
        try:
            send()
            raised.append(None)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=attempt, name="labmon-notify-attempt", daemon=True)
    thread.start()
    thread.join(seconds)
    if not raised:
        raise SendFailed(f"no answer within {seconds:g} s")
    if raised[0] is not None:
        raise raised[0]
