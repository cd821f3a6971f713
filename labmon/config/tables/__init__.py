"""All tables of the configuration, and the names that the rest of labmon knows them by."""

from msgspec import Struct

from labmon.config.tables.collect import CollectConfig
from labmon.config.tables.consume import ConsumeConfig
from labmon.config.tables.dashboard import DashboardConfig
from labmon.config.tables.database import DatabaseConfig
from labmon.config.tables.events import EventsConfig
from labmon.config.tables.heartbeat import HeartbeatConfig
from labmon.config.tables.log import LogConfig
from labmon.config.tables.notify import NotifyConfig, NotifyTarget
from labmon.config.tables.queue import QueueConfig
from labmon.config.tables.retention import RetentionConfig
from labmon.config.tables.scan import ScanConfig
from labmon.config.tables.spool import SpoolConfig
from labmon.config.tables.state import StateConfig

__all__ = [
    "CollectConfig",
    "Config",
    "ConsumeConfig",
    "DashboardConfig",
    "DatabaseConfig",
    "EventsConfig",
    "HeartbeatConfig",
    "LogConfig",
    "NotifyConfig",
    "NotifyTarget",
    "QueueConfig",
    "RetentionConfig",
    "ScanConfig",
    "SpoolConfig",
    "StateConfig",
]


class Config(Struct, frozen=True, kw_only=True):
    """Every table of the file, with its defaults, in the order of the sample file."""

    database: DatabaseConfig = DatabaseConfig()
    queue: QueueConfig = QueueConfig()
    scan: ScanConfig = ScanConfig()
    collect: CollectConfig = CollectConfig()
    consume: ConsumeConfig = ConsumeConfig()
    events: EventsConfig = EventsConfig()
    retention: RetentionConfig = RetentionConfig()
    notify: NotifyConfig = NotifyConfig()
    heartbeat: HeartbeatConfig = HeartbeatConfig()
    dashboard: DashboardConfig = DashboardConfig()
    spool: SpoolConfig = SpoolConfig()
    log: LogConfig = LogConfig()
    state: StateConfig = StateConfig()
