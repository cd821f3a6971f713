"""Which machines `labmon collect` measures: chosen on the command line, looked up in the store or on disk.

The copy of the inventory on disk (`inventory.json`) is for when the database is away. Its numbers mean
something in one database only, so it names that one, and is used for no other.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from labmon.errors import SchemaOutOfDate, StoreError, StoreUnavailable, UsageError
from labmon.readable import ago

if TYPE_CHECKING:
    from labmon.collect.lookup import Lookup
    from labmon.config.tables import DatabaseConfig, StateConfig
    from labmon.fleet import Fleet, Machine
    from labmon.sinks.spool.spool import Spool
    from labmon.store.pool import Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Selection:
    """Which machines are to be measured. Raises UsageError unless that is said in exactly one way."""

    everything: bool = False
    dept: int | None = None
    lab: str | None = None  #: number or name
    systems: tuple[int, ...] = ()
    hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ways = [self.everything, self.dept is not None, self.lab is not None, self.systems, self.hosts]
        if sum(map(bool, ways)) != 1:
            raise UsageError("collect: choose machines by one of --all, --dept, --lab, --system or --host")

    @property
    def names_machines(self) -> bool:
        """True when machines were named one by one: then each of them is tried."""
        return bool(self.systems or self.hosts)

    def of(self, fleet: "Fleet", lookup: "Lookup") -> "list[Machine]":
        """These machines, by address or as they were named. Raises UsageError for what does not exist."""
        from labmon.fleet import find_lab

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
                    f"there is no system {min(missing)} to measure: none with an address, or it is retired, "
                    "ignored or in quarantine. See: labmon systems list --all"
                )
        return machines


class FleetSource:
    """Where the machines come from: the store, or while it is away the copy on disk."""

    def __init__(self, database: "DatabaseConfig", state: "StateConfig", spool: "Spool") -> None:
        """`spool` is this machine's: `read` reports to the store how full it is."""
        self._database = database
        self._state = state
        self._spool = spool
        self._file = inventory_file(state.path)

    @property
    def place(self) -> str:
        """The configured database as a person would name it: no user, no password."""
        if self._database.url:
            from labmon import pg

            return pg.where(self._database.url)
        return f"the embedded database in {self._state.folder}"

    @contextmanager
    def open(
        self, selection: Selection, *, notice: Callable[[str], None]
    ) -> "Iterator[tuple[Store | None, Fleet]]":
        """The store and its machines. While it is away or not migrated: None, and the machines of the last
        time.

        `notice` gets the line that says so. Addresses alone (`--host`) are measured without any database.
        Raises StoreError where there is neither.
        """
        with ExitStack() as stack:
            try:
                store = stack.enter_context(self.open_store())
                fleet = self.read(store)
            except StoreError as error:
                store, fleet = None, self._without_store(selection, error, notice)
            yield store, fleet

    def open_store(self, *, any_schema: bool = False) -> "Store":
        """The store alone. Raises StoreError."""
        from labmon.store.pool import Store

        return Store(self._database, self._state, any_schema=any_schema)

    def read(self, store: "Store") -> "Fleet":
        """The machines as the store has them now; kept on disk. Raises StoreError."""
        from msgspec import structs

        from labmon.consume.spool_report import report_spool
        from labmon.messages import utcnow
        from labmon.store.inventory import systems as inventory

        with store.transaction() as connection:
            fleet = inventory.fleet(connection)
            report_spool(connection, self._spool, utcnow())
        fleet = structs.replace(fleet, database=self.place)
        _set_other_aside(self._file, fleet)
        fleet.save(self._file)
        return fleet

    def _without_store(
        self, selection: Selection, error: StoreError, notice: Callable[[str], None]
    ) -> "Fleet":
        """The machines of the last time, or none where none are needed. Raises the error otherwise."""
        from labmon.fleet import Fleet

        elsewhere = ""
        if isinstance(error, StoreUnavailable | SchemaOutOfDate):
            files = (self._file, *_set_aside(self._file))
            copies = [(one, fleet) for one in files if (fleet := Fleet.load(one))]
            for copy, fleet in copies:
                if self._is_ours(fleet, error):
                    notice(f"{error}. Using the inventory of {ago(fleet.read_at)} ago ({copy})")
                    return fleet
            if copies:
                known = copies[0][1].database or "an unknown database"
                elsewhere = f". The inventory in {self._file} is of {known}, so it is not used"
        if selection.hosts:
            notice(f"{error}{elsewhere}. Nothing will be stored")
            return Fleet(datetime.now(UTC))
        if elsewhere:
            raise type(error)(f"{error}{elsewhere}") from error
        raise error

    def _is_ours(self, copy: "Fleet", error: StoreError) -> bool:
        """True when a copy is of the configured database: by the name that the database has of itself where
        it answers, else by where it is."""
        if not copy.inventory:
            return False
        if not isinstance(error, SchemaOutOfDate):
            return copy.database == self.place
        from labmon.store.identity import database_id

        with (
            suppress(StoreError),
            self.open_store(any_schema=True) as store,
            store.transaction() as connection,
        ):
            return copy.inventory == database_id(connection)
        return False


def _set_other_aside(path: Path, fleet: "Fleet") -> None:
    """Keep the copy of another database beside this one, and say so: its numbers mean other machines."""
    from labmon.fleet import Fleet

    own = _aside(path, fleet.inventory)
    before = Fleet.load(path)
    if before is not None and before.inventory and before.inventory != fleet.inventory:
        other = _aside(path, before.inventory)
        with suppress(OSError):
            path.replace(other)
            logger.warning("%s was of %s: set aside as %s", path, before.database, other.name)
    with suppress(OSError):
        own.unlink(missing_ok=True)


def _aside(path: Path, inventory: str) -> Path:
    return path.with_name(f"{path.stem}-{inventory[:8]}{path.suffix}")


def _set_aside(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"))


def known_database(state_dir: Path) -> str:
    """The identity of the database whose inventory was read here last; "" when there is none."""
    from labmon.fleet import Fleet

    fleet = Fleet.load(inventory_file(state_dir))
    return fleet.inventory if fleet else ""


def inventory_file(state_dir: Path) -> Path:
    """Where the last inventory is kept."""
    return state_dir / "inventory.json"
