"""What is done about alerts beside the workers: look, pass on what was found, tell who is to be told."""

from collections.abc import Callable, Mapping
from threading import Event

from labmon.alerts.notify import Notifier
from labmon.alerts.relay import Relay
from labmon.brokers.base import Broker, Depth
from labmon.config import Config
from labmon.consume.crew import Crew
from labmon.consume.watch import Watch
from labmon.store.pool import Store


class Alerting:
    """The three duties, each for a thread of its own; or all of them once.

    Raises ConfigError for a target that cannot be told of anything.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        open_broker: Callable[[], Broker],
        depths: Callable[[], Mapping[str, Depth]],
    ) -> None:
        self._config = config
        self._store = store
        self._watch = Watch(store, config, depths)
        self._relay = Relay(open_broker, config.queue.alert_queue)
        self._notifier = Notifier(config.notify)

    def look(self) -> None:
        """Look at what no reading triggers. Raises StoreError, SpoolError."""
        self._watch.look()

    def relay(self, stop: Event) -> None:
        """Pass on what was found to the alert queue, until stopped."""
        self._relay.run(self._store, stop)

    def notify(self, stop: Event) -> None:
        """Tell who is to be told, until stopped."""
        self._notifier.run(self._store, stop)

    def finish(self, stop: Event) -> None:
        """All of it once, for those who do not stay: each target is tried once, the rest waits.

        Raises LabmonError.
        """
        self.look()
        with self._store.session("alerts") as connection:
            if self._relay.forward_all(connection):
                queue = self._config.queue.alert_queue
                Crew(self._config, [queue], self._store, stop, until_empty=True).run()
            self._notifier.tell_all(connection)
