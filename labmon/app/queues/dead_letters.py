"""Dead letters as `labmon dead-letters` lists them."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from labmon.readable import ago
from labmon.table import Column

if TYPE_CHECKING:
    from labmon.brokers.base import DeadLetter


@dataclass(frozen=True)
class DeadLetterRow:
    """A dead letter as it is listed."""

    id: str
    reason: str
    error: str
    attempts: int
    died_at: datetime
    enqueued_at: datetime | None
    routing_key: str
    high: bool
    body: str

    @classmethod
    def of(cls, letter: "DeadLetter") -> "DeadLetterRow":
        return cls(
            letter.message.id,
            letter.reason,
            letter.error,
            letter.attempt,
            letter.died_at,
            letter.enqueued_at,
            letter.message.routing_key,
            letter.message.high,
            letter.message.body.decode(errors="backslashreplace"),
        )


COLUMNS = [
    Column("id", "Message"),
    Column("reason", "Reason", gives=True),
    Column("error", "Error", gives=True),
    Column("attempts", "Attempts", right=True),
    Column("died_at", "Died", ago, right=True),
]
