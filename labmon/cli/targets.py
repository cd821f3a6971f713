"""Which machines `labmon collect` measures: chosen on the command line, looked up in the store or on disk."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from labmon.cli.output import ago, say
from labmon.cli.wiring import open_store
from labmon.config import Config
from labmon.errors import SchemaOutOfDate, StoreError, StoreUnavailable, UsageError
from labmon.fleet import Fleet, Machine, find_lab

if TYPE_CHECKING:
    from labmon.collect.lookup import Lookup
    from labmon.collect.runner import Target
    from labmon.store.pool import Store


@dataclass(frozen=True)
class Choice:
    """What was asked for. Raises UsageError unless that is exactly one thing."""

    everything: bool = False
    dept: int | None = None
    lab: str | None = None  #: number or name
    systems: tuple[int, ...] = ()
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        said = [self.everything, self.dept is not None, self.lab is not None, self.systems, self.hosts]
        if sum(map(bool, said)) != 1:
            raise UsageError(
                "collect: say which machines, by one of --all, --dept, --lab, --system or --host"
            )

    @property
    def names_machines(self) -> bool:
        """True when somebody named them one by one, and so wants each of them tried."""
        return bool(self.systems or self.hosts)

    def of(self, fleet: Fleet, lookup: "Lookup") -> list[Machine]:
        """Those machines, by address or as they were named. Raises UsageError for what there is not."""
        if self.hosts:
            return list(dict.fromkeys(lookup.machine(host, fleet) for host in self.hosts))
        machines = list(fleet.machines)
        if self.dept is not None:
            machines = [one for one in machines if one.dept_id == self.dept]
        elif self.lab is not None:
            lab_id = find_lab(self.lab, fleet.labs)
            machines = [one for one in machines if one.lab_id == lab_id]
        elif self.systems:
            machines = [one for one in machines if one.system_id in self.systems]
            if missing := set(self.systems) - {one.system_id for one in machines}:
                raise UsageError(
                    f"there is no system {min(missing)} with an address. See: labmon systems list"
                )
        return machines


def target(machine: Machine, port: int, inventory: str) -> "Target":
    """What the runner measures; `port` is the usual one, `inventory` whose machine it is."""
    from labmon.collect.lookup import ip
    from labmon.collect.runner import Target

    return Target(
        machine.address,
        machine.port or port,
        machine.system_id,
        machine.name,
        inventory,
        is_name=ip(machine.address) is None,
    )


@contextmanager
def open_fleet(config: Config, choice: Choice) -> "Iterator[tuple[Store | None, Fleet]]":
    """The store and its machines. While it is away or not migrated, None and those it had the last time.

    Addresses alone (`--host`) are measured without any database. Raises StoreError where there is neither.
    """
    with ExitStack() as stack:
        try:
            store = stack.enter_context(open_store(config))
            fleet = read_fleet(store, config)
        except StoreError as error:
            store, fleet = None, _without_store(config, choice, error)
        yield store, fleet


def _without_store(config: Config, choice: Choice, error: StoreError) -> Fleet:
    """The machines of the last time, or none for who needs none. Raises the error for anyone else."""
    path = inventory_file(config)
    fleet = Fleet.load(path)
    if fleet is not None and isinstance(error, StoreUnavailable | SchemaOutOfDate):
        say(f"labmon: {error}. Using the inventory of {ago(fleet.read_at)} ago ({path})")
        return fleet
    if choice.hosts:
        say(f"labmon: {error}. Nothing will be stored")
        return Fleet(datetime.now(UTC))
    raise error


def read_fleet(store: "Store", config: Config) -> Fleet:
    """The machines as the store has them now; kept on disk. Raises StoreError.

    Whoever reaches the store tells it how full the spool is here, which nobody else can see.
    """
    from labmon.consume.spools import report_spool
    from labmon.messages import utcnow
    from labmon.store import inventory

    with store.transaction() as connection:
        fleet = inventory.fleet(connection)
        report_spool(connection, config, utcnow())
    fleet.save(inventory_file(config))
    return fleet


def inventory_file(config: Config) -> Path:
    """Where the last inventory is kept."""
    return config.state.path / "inventory.json"
