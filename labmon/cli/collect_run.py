"""What `labmon collect` does once and, with `--every`, in each round: who is measured, and where it goes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from labmon.cli import address_lock
from labmon.cli.targets import Choice, target
from labmon.cli.wiring import Sink
from labmon.collect.lane import Due, Lane
from labmon.collect.lookup import Lookup
from labmon.config import Config
from labmon.fleet import Fleet, Machine
from labmon.messages import utcnow
from labmon.scan.address import number

if TYPE_CHECKING:
    from labmon.collect.runner import Result, Target


class Run:
    """The machines that were chosen, those of them that are due, and their results on the way to the sink."""

    def __init__(self, config: Config, choice: Choice) -> None:
        self._config = config
        self._choice = choice
        self.lane = Lane(config.state.path / "lane.json", config.collect)
        self._lookup = Lookup(config.collect)
        self.machines: list[Machine] = []
        self.resting = 0  #: left alone because of maintenance
        self.inventory = ""  #: whose machines they are
        self._place: dict[int | None, tuple[int | None, int | None]] = {}

    def look(self, fleet: Fleet, *, retry: bool = False) -> Due:
        """Who is due now, by an inventory just read; with `retry`, those too that failed before. Raises
        UsageError for a choice that the inventory does not have."""
        chosen = self._choice.of(fleet, self._lookup)
        self.machines = [one for one in chosen if not one.rests or self._choice.names_machines]
        self.resting = len(chosen) - len(self.machines)
        self._place = {one.system_id: (one.dept_id, one.lab_id) for one in self.machines}
        self.inventory = fleet.inventory
        self.lane.update(fleet)
        if retry:
            self.lane.retry(self.machines)
        return self.due()

    def due(self) -> Due:
        """Who is due now, by the inventory of the last look."""
        return self.lane.due(self.machines, utcnow())

    def targets(self, due: Due) -> "list[Target]":
        """As the runner wants them; first those that failed before: who is off costs a whole deadline."""
        machines = sorted(due.now, key=self.lane.has_failed, reverse=True)
        return [target(one, self._config.collect.port, self.inventory) for one in machines]

    def take(self, result: "Result", sink: Sink) -> None:
        """Send what was measured, and how the machine fares. Raises what the sink does."""
        for message in (result.message, self.lane.record(result, utcnow())):
            if message:
                dept, lab = self._place.get(message.system_id, (None, None))
                sink.send(message, dept=dept, lab=lab)


@contextmanager
def held(config: Config, choice: Choice, machines: list[Machine]) -> Iterator[None]:
    """Keep other runs off these machines. Raises AlreadyRunning when one is at any of them.

    Whoever names machines one by one looks for himself, and keeps nobody off.
    """
    if choice.names_machines:
        yield
        return
    numbers = sorted(number(one.address) for one in machines)
    folder = config.state.path / "collecting"
    with address_lock.held(
        folder, [(one, one) for one in numbers], "these machines are being measured already"
    ):
        yield
