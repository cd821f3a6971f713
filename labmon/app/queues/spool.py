"""What `labmon spool` does, and how it lists the messages that wait."""

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from labmon import files
from labmon.app.fleet import known_database
from labmon.app.open import ingest_settings, open_broker, open_spool, open_store
from labmon.errors import UsageError
from labmon.readable import ago, shown, span
from labmon.table import Column
from labmon.text import near

if TYPE_CHECKING:
    from labmon.config.tables import Config
    from labmon.sinks.buffered import BufferedSink
    from labmon.sinks.spool.spool import Spool, SpooledMessage, SpoolStatus


@dataclass(frozen=True)
class SpooledQueueRow:
    """The messages that wait for one queue."""

    queue: str
    messages: int
    oldest_age_seconds: float


QUEUES = [
    Column("queue", "Queue"),
    Column("messages", "Messages", "{:,}".format, right=True),
    Column("oldest_age_seconds", "Oldest", span, right=True),
]


@dataclass(frozen=True)
class SpooledMessageRow:
    """A message as it is printed."""

    number: int
    queue: str
    spooled_at: datetime
    database: str  #: as `_whose` says it
    routing_key: str
    body: str


SHOWN = 60
"""Characters of a message in a table. JSON and CSV have all of it."""

MESSAGES = [
    Column("number", "Number", right=True),
    Column("queue", "Queue"),
    Column("spooled_at", "Since", shown),
    Column("database", "Database"),
    Column("routing_key", "Key", extra=True),
    Column(
        "body", "Message", lambda body: body if len(body) <= SHOWN else body[: SHOWN - 3] + "...", gives=True
    ),
]


def _row(one: "SpooledMessage", ours: str) -> SpooledMessageRow:
    body = one.body.decode(errors="replace")
    return SpooledMessageRow(
        one.number, one.queue, one.spooled_at, _whose(one.database, ours), one.routing_key, body
    )


def _whose(database: str, ours: str) -> str:
    """The database whose systems a message is about; "any" when it names none by its number."""
    if not database:
        return "any"
    return "this" if database == ours else f"another ({database})" if ours else database


@dataclass(frozen=True)
class SpoolReport:
    """What is in the spool, and what befell it."""

    found: "SpoolStatus"
    other: int  #: messages about another database than the one used here
    rows: list[SpooledQueueRow]
    writable: bool  #: whether this account could keep a message

    def facts(self) -> list[tuple[str, str]]:
        """What people read: names and values."""
        found = self.found
        oldest = "-" if found.oldest_at is None else ago(found.oldest_at)
        dropped = f"{found.dropped_for_room + found.dropped_for_age:,}"
        if found.last_dropped_at:
            why = f"{found.dropped_for_room:,} for room, {found.dropped_for_age:,} for age"
            dropped += f" ({why}), last {ago(found.last_dropped_at)} ago"
        lines = [
            ("File", found.file),
            ("Messages", f"{found.messages:,}"),
            ("Size", f"{found.bytes / 2**20:.1f} MiB, at most {found.max_bytes / 2**20:.0f}"),
            ("Oldest", f"{oldest}, at most {span(found.max_age)}"),
            ("Dropped", dropped),
            ("Corrupt", f"{found.corrupt:,}"),
        ]
        if self.other:
            text = f"{self.other:,} about another database: labmon spool list --other-database"
            lines.append(("Set aside", text))
        if not self.writable:
            lines.append(("Read-only", "nothing can be kept: choose another folder with [state] dir"))
        if found.set_aside:
            lines.append(("Damaged", f"{found.set_aside} times the whole file, set aside beside it"))
        return lines

    def whole(self) -> dict[str, Any]:
        """What programs read."""
        found = self.found
        dropped_at = found.last_dropped_at
        return {
            "file": found.file,
            "messages": found.messages,
            "bytes": found.bytes,
            "max_bytes": found.max_bytes,
            "oldest_age_seconds": max((row.oldest_age_seconds for row in self.rows), default=None),
            "max_age_seconds": found.max_age,
            "dropped_for_room": found.dropped_for_room,
            "dropped_for_age": found.dropped_for_age,
            "last_dropped_at": dropped_at and dropped_at.isoformat().replace("+00:00", "Z"),
            "corrupt": found.corrupt,
            "set_aside": found.set_aside,
            "other_database": self.other,
            "writable": self.writable,
            "queues": [asdict(row) for row in self.rows],
        }


def report(config: "Config") -> SpoolReport:
    """The spool of this machine as it is now. Raises SpoolError."""
    found, ours = open_spool(config).status(), known_database(config.state.path)
    other = sum(count for name, count in found.databases.items() if ours and name not in ("", ours))
    rows = [SpooledQueueRow(one.queue, one.messages, _age(one.oldest_at)) for one in found.queues]
    return SpoolReport(found, other, rows, files.may_write(config.state.path))


def _age(moment: datetime) -> float:
    return max(0.0, (datetime.now(UTC) - moment).total_seconds())


class Selected:
    """The messages for one queue, or about other databases, or all. Every method raises SpoolError."""

    def __init__(self, config: "Config", queue: str | None, *, other_database: bool) -> None:
        """Raises UsageError while labmon's own database is not known."""
        self._ours = known_database(config.state.path)
        if other_database and not self._ours:
            raise UsageError(
                "which database is labmon's is not known on this machine yet. It is after: "
                "labmon collect --all"
            )
        self._spool = open_spool(config)
        self._queue = queue
        self._queues = config.queue.names
        self._other_than = self._ours if other_database else None

    def rows(self, limit: int) -> list[SpooledMessageRow]:
        """The oldest `limit` of them."""
        found = self._spool.browse(limit, queue=self._queue, other_than=self._other_than)
        return [_row(one, self._ours) for one in found]

    def count(self) -> int:
        """How many there are."""
        return self._spool.count(queue=self._queue, other_than=self._other_than)

    def check_queue(self) -> None:
        """Raises UsageError when neither the configuration nor the spool has a queue of this name."""
        if self._queue is not None and self._queue not in self._queues:
            known = f"There are: {', '.join(self._queues)}{near(self._queue, self._queues)}"
            raise UsageError(f"there is no queue {self._queue!r}. {known}")

    def drop(self) -> int:
        """Delete them for good. Returns how many."""
        return self._spool.drop(queue=self._queue, other_than=self._other_than)


@dataclass
class Flush:
    """Delivering what is in the spool, so far."""

    total: int  #: messages at the beginning
    delivered: str  #: what becomes of them: "sent" to the queue, or "stored"
    sent: int = 0
    left: int = 0  #: messages about the database used here that are still there
    other: int = 0  #: messages about another database, which are not sent
    refused: Mapping[str, str] = field(default_factory=dict)  #: queue -> reason


def flush(config: "Config", notice: Callable[[str], None]) -> Generator[Flush, None, None]:
    """Deliver what waits, oldest first; yields how far it is: first before anything is sent, last at the end.

    To the queue where it is enabled, which makes no queue; else into the database, since nothing would
    consume what is published. `notice` gets a line for each message that can never be stored. Raises
    LabmonError; what was not delivered by then stays.
    """
    spool = open_spool(config)
    with ExitStack() as stack:
        sink = _sink(config, spool, notice, stack)
        done = Flush(spool.count(), sink.DELIVERED)
        yield done
        for number in sink.drain():
            done.sent += number
            yield done
        if not config.queue.enabled:
            sink.flush()  # raises what the database took for nonsense
        ours = sink.database
    done.other = spool.count(other_than=ours) if ours else 0
    done.left = spool.count() - done.other
    done.refused = sink.refused
    yield done


def _sink(
    config: "Config", spool: "Spool", notice: Callable[[str], None], stack: ExitStack
) -> "BufferedSink":
    """Where a flush goes to. What it opens is closed with `stack`."""
    if config.queue.enabled:
        from labmon.sinks.queued import QueueSink

        return QueueSink(
            lambda: stack.enter_context(open_broker(config)),
            config.queue,
            spool,
            notice,
            database=known_database(config.state.path),
            declares=False,
        )
    from labmon.sinks.direct import DirectSink

    return DirectSink(lambda: stack.enter_context(open_store(config)), ingest_settings(config), spool, notice)
