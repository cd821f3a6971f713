"""The way to a target: what a sender is, and what becomes of an attempt."""

from typing import Protocol

from labmon.alerts.notification import Notification


class SendFailed(Exception):
    """The target was not told. The text is one line and holds no secret.

    `again`: another attempt may succeed. `after`: not before so many seconds, as the target wishes.
    """

    def __init__(self, reason: str, *, again: bool = True, after: float = 0) -> None:
        super().__init__(reason)
        self.again = again
        self.after = after


class Sender(Protocol):
    """Tells one target. Threads may share it."""

    def send(self, notification: Notification) -> None:
        """Return when the target has taken it. Raises SendFailed, and nothing else."""
