"""Whose messages are served first: `[queue] high_priority`."""

from labmon.config.tables import QueueConfig
from labmon.messages import Alert, AnyMessage, Discovery, Facts, Metrics, ScanFinished, SystemStatus


class Priorities:
    """The configured departments, labs and systems."""

    def __init__(self, settings: QueueConfig) -> None:
        self._chosen = frozenset(settings.high_priority)

    def is_high(self, message: AnyMessage, *, dept: int | None = None, lab: int | None = None) -> bool:
        """True for the high lane. What names only a system: say its department and lab."""
        match message:
            case Discovery() | ScanFinished():
                return f"dept:{message.dept_id}" in self._chosen
            case Metrics() | Alert() | SystemStatus() | Facts():
                names = {f"system:{message.system_id}", f"dept:{dept}", f"lab:{lab}"}
                return not names.isdisjoint(self._chosen)
