"""The composition root: the store, the broker, and the sink for messages, opened from the configuration."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from labmon.errors import UsageError
from labmon.text import near

if TYPE_CHECKING:
    from labmon.brokers.base import Broker
    from labmon.config.tables import Config
    from labmon.consume.supervisor.heartbeat import WorkerSettings
    from labmon.ingest.settings import IngestSettings
    from labmon.sinks.base import Sink
    from labmon.sinks.buffered import BufferedSink
    from labmon.sinks.spool.spool import Spool
    from labmon.store.pool import Store


def open_store(config: "Config", *, any_schema: bool = False, answer_within: float | None = None) -> "Store":
    """The configured database, or the embedded one. Parameters and errors are those of `Store`."""
    from labmon.store.pool import Store

    return Store(config.database, config.state, any_schema=any_schema, answer_within=answer_within)


@contextmanager
def open_broker(config: "Config", store: "Store | None" = None) -> Iterator["Broker"]:
    """The configured broker. Where it lives in the store, that one, opened if it is not given."""
    from labmon.brokers import open_broker

    with ExitStack() as stack:
        if config.queue.in_store and store is None:
            store = stack.enter_context(open_store(config))
        yield stack.enter_context(open_broker(config.queue, store_url=store.url if store else ""))


def open_spool(config: "Config") -> "Spool":
    """The spool of this machine. Touches no file: see `Spool`."""
    from labmon.sinks.spool.spool import Spool

    settings = config.spool
    path = config.state.path / "spool.db"
    return Spool(path, max_bytes=settings.max_bytes, max_age=float(settings.max_age))


def ingest_settings(config: "Config") -> "IngestSettings":
    """What the handlers of messages read."""
    from labmon.ingest.settings import IngestSettings

    return IngestSettings(
        config.queue, config.consume, config.events, config.retention, config.notify, config.dashboard
    )


def worker_settings(config: "Config") -> "WorkerSettings":
    """What a worker process of its own is given."""
    from labmon.consume.supervisor.heartbeat import WorkerSettings

    return WorkerSettings(ingest_settings(config), config.database, config.state, config.log)


@contextmanager
def open_sink(
    config: "Config",
    store: "Store | None" = None,
    *,
    notice: Callable[[str], None],
    queued: bool | None = None,
    away: bool = False,
    database: str = "",
) -> Iterator["Sink"]:
    """The queue when it is enabled (or `queued`), else the handlers; both with the spool behind them.

    `away`: the store has just been found to be, and the user knows. `database` is the identity of the store,
    as far as it is known here; with it the queue is not sent what the spool holds for another one. `notice`
    gets a line when messages stay in the spool. Leaving the block flushes, also when it raises: what was
    found by then is kept.
    """
    settings = ingest_settings(config)
    spool = open_spool(config)
    with ExitStack() as stack:

        def opened() -> "Store":
            return store or stack.enter_context(open_store(config))

        def broker() -> "Broker":
            return stack.enter_context(open_broker(config, store))

        sink: BufferedSink
        if config.queue.enabled if queued is None else queued:
            from labmon.sinks.queued import QueueSink

            sink = QueueSink(broker, config.queue, spool, notice, database=database)
        else:
            from labmon.sinks.direct import DirectSink

            sink = DirectSink(opened, settings, spool, notice, away=away)
        stack.enter_context(sink)
        try:
            yield sink
        finally:
            sink.flush()


def named_queue(name: str, config: "Config") -> str:
    """A queue by its name or by how it begins: "metrics" is enough for metrics_queue. Raises UsageError."""
    names = config.queue.names
    begun = [known for known in names if known == name] or [
        known for known in names if known.startswith(name)
    ]
    if len(begun) != 1:
        raise UsageError(f"there is no queue {name!r}. There are: {', '.join(names)}{near(name, names)}")
    return begun[0]
