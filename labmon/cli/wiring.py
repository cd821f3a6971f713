"""Where the parts meet: configuration from flags, the store, the broker, and the sink for messages."""

import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from labmon import logs, settings
from labmon.cli.output import Format, say
from labmon.config import Config
from labmon.errors import UsageError

if TYPE_CHECKING:
    from labmon.brokers.base import Broker
    from labmon.messages import AnyMessage
    from labmon.store.pool import Store

QueueEnabled = Annotated[
    bool | None,
    typer.Option(
        "--queue-enabled/--no-queue", help="Through the queue, or stored directly.", show_default="config"
    ),
]
QueueHost = Annotated[str | None, typer.Option(metavar="HOST", help="The broker's host.", show_default=False)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing unless something is wrong.")]
As = Annotated[Format, typer.Option("--format", "-f", help="How results are printed.")]


LARGEST = 2**31 - 1
"""Of the numbers of departments, labs and systems."""


class Sink(Protocol):
    """Where messages go: the queue, or straight to the handlers."""

    rejected: int
    """How many could not be stored, as far as is known by now."""

    @property
    def spooled(self) -> int:
        """How many wait on the disk of this machine."""

    def send(self, message: "AnyMessage", *, dept: int | None = None, lab: int | None = None) -> None:
        """Take it, now or with the next `flush`. Raises LabmonError when it can be kept nowhere."""

    def flush(self) -> None:
        """Return when everything sent so far is safe. Raises LabmonError."""


def load(ctx: typer.Context, flags: Mapping[str, Any] | None = None) -> Config:
    """The checked configuration, with the command line on top, and logging set up by it."""
    config = settings.load(ctx.obj, flags=flags).config
    logs.set_up(config.log.level)
    return config


@contextmanager
def open_store(config: Config, *, any_schema: bool = False) -> Iterator["Store"]:
    """The configured database, or the embedded one."""
    from labmon.store.pool import Store

    with Store(config, any_schema=any_schema) as store:
        yield store


@contextmanager
def open_broker(config: Config, store: "Store | None" = None) -> Iterator["Broker"]:
    """The configured broker. Where it lives in the store, that one, opened if it is not given."""
    from labmon.brokers import open_broker

    with ExitStack() as stack:
        if config.queue.in_store and store is None:
            store = stack.enter_context(open_store(config))
        yield stack.enter_context(open_broker(config, store_url=store.url if store else ""))


@contextmanager
def open_sink(
    config: Config, store: "Store | None" = None, *, queued: bool | None = None, away: bool = False
) -> Iterator[Sink]:
    """The queue when it is enabled (or `queued`), else the handlers. While either is away: see `spool`.
    `away`: the store is known to be, and that has been said.

    Leaving the block flushes, also when it raises: what was found by then is kept.
    """
    from labmon.spool import Spool

    with ExitStack() as stack:
        sink: Sink
        if config.queue.enabled if queued is None else queued:
            from labmon.publish import Publisher

            sink = stack.enter_context(
                Publisher(
                    lambda: stack.enter_context(open_broker(config, store)),
                    config.queue,
                    Spool.of(config),
                    lambda line: say(f"labmon: {line}"),
                )
            )
        else:
            from labmon.consume.direct import Direct

            sink = stack.enter_context(
                Direct(
                    lambda: store or stack.enter_context(open_store(config)),
                    config,
                    Spool.of(config),
                    lambda line: say(f"labmon: {line}"),
                    away=away,
                )
            )
        try:
            yield sink
        finally:
            sink.flush()


def named_queue(name: str, config: Config) -> str:
    """A queue by its name or by how it begins: "metrics" is enough for metrics_queue. Raises UsageError."""
    names = config.queue.names
    near = [known for known in names if known == name] or [known for known in names if known.startswith(name)]
    if len(near) != 1:
        raise UsageError(f"there is no queue {name!r}. There are: {', '.join(names)}")
    return near[0]


class Nowhere:
    """The sink of a dry run."""

    rejected = 0
    spooled = 0

    def send(self, message: "AnyMessage", *, dept: int | None = None, lab: int | None = None) -> None:
        """Drop it."""

    def flush(self) -> None:
        """Nothing to do."""


def destination(config: Config, queue: str, sink: Sink) -> str:
    """Where a sink's messages went, for the closing line."""
    if sink.spooled:
        return "kept in the spool"
    return f"queued for {queue}" if config.queue.enabled else "stored"


@contextmanager
def stops_on_interrupt(stop: threading.Event) -> Iterator[list[int]]:
    """The first Ctrl-C or SIGTERM sets `stop`, the second ends labmon. Yields the signals that came."""
    came: list[int] = []

    def handle(number: int, _: object) -> None:
        came.append(number)
        stop.set()
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def interactive(quiet: bool) -> bool:
    """True when somebody watches: progress is drawn on a terminal and nowhere else."""
    return sys.stderr.isatty() and not quiet
