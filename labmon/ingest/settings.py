"""What the handlers read of the configuration; apart from them for those that only pass it on."""

from dataclasses import dataclass

from labmon.config.tables import (
    ConsumeConfig,
    DashboardConfig,
    EventsConfig,
    NotifyConfig,
    QueueConfig,
    RetentionConfig,
)


@dataclass(frozen=True)
class IngestSettings:
    """The tables of the configuration that decide how messages are stored and told. Can be pickled."""

    queue: QueueConfig
    consume: ConsumeConfig
    events: EventsConfig
    retention: RetentionConfig
    notify: NotifyConfig
    dashboard: DashboardConfig = DashboardConfig()
