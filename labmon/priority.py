"""Whose messages are served first: `[queue] high_priority`, and critical alerts."""

from labmon.config import Queue
from labmon.messages import Alert, AnyMessage, Discovery, Metrics, ScanFinished, SystemStatus


class Priorities:
    """The configured departments, labs and systems."""

    def __init__(self, settings: Queue) -> None:
        self._chosen = frozenset(settings.high_priority)

    def is_high(self, message: AnyMessage, *, dept: int | None = None, lab: int | None = None) -> bool:
        """True for the high lane. What names only a system: say its department and lab."""
        match message:
            case Discovery() | ScanFinished():
                return f"dept:{message.dept_id}" in self._chosen
            case Metrics() | Alert() | SystemStatus():
                names = {f"system:{message.system_id}", f"dept:{dept}", f"lab:{lab}"}
                critical = isinstance(message, Alert) and message.severity == "critical"
                return critical or not names.isdisjoint(self._chosen)
