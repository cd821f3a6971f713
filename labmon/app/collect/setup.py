"""What collecting works with, resolved from the configuration once."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from labmon.app.fleet import FleetSource
from labmon.app.heartbeat import HeartbeatUrl
from labmon.app.open import open_sink, open_spool
from labmon.config.tables import CollectConfig, Config
from labmon.sinks.base import Sink


@dataclass(frozen=True)
class CollectSetup:
    """The settings, where the machines are read, and where their readings go."""

    settings: CollectConfig
    state_dir: Path
    fleet: FleetSource
    open_sink: Callable[..., AbstractContextManager[Sink]]
    """`open_sink` of `app.open` without its first argument."""
    heartbeat: HeartbeatUrl

    @classmethod
    def of(cls, config: Config) -> Self:
        """Of the whole configuration. Opens nothing."""
        fleet = FleetSource(config.database, config.state, open_spool(config))
        return cls(
            config.collect,
            config.state.path,
            fleet,
            partial(open_sink, config),
            HeartbeatUrl(config.heartbeat, "collect"),
        )
