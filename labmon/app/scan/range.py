"""The addresses that a scan asks: those typed, or the department's subnets, without what is excluded."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from labmon.config.tables import ScanConfig
from labmon.errors import UsageError
from labmon.messages import MAX_RANGE
from labmon.scan.kernel import ipv6
from labmon.scan.targets.files import expand
from labmon.scan.targets.target_set import Targets, parse

if TYPE_CHECKING:
    from labmon.store.pool import Store


def targets(
    typed: Sequence[str],
    excluded: Sequence[str],
    dept: int,
    settings: ScanConfig,
    store: "Store | None",
    *,
    force: bool,
) -> Targets:
    """The addresses to ask. `store` is needed only when nothing was typed. Raises UsageError."""
    return parse(
        expand(typed) if typed or store is None else _subnets(store, dept),
        max_hosts=settings.max_hosts,
        force=force,
        exclude=expand([*settings.exclude, *excluded]),
        allow=settings.allow,
        links=ipv6.networks(ipv6.own()),
    )


def _subnets(store: "Store", dept: int) -> list[str]:
    from labmon.store.inventory import departments  # psycopg is loaded only where it is needed

    with store.transaction() as connection:
        (known,) = departments.departments(connection, dept=dept) or (None,)
    if known is None or not known.subnets:
        raise UsageError(
            f"department {dept} has no subnets: name the addresses to scan, or say once "
            f"labmon departments set {dept} --subnet 10.30.5.0/24"
        )
    return known.subnets


def known(state_dir: Path, store: "Store | None", targets: Targets) -> list[str]:
    """Machines in the networks that are asked as a whole, some of which do not answer a question to all.

    From the store, or where only the queue is at hand from the inventory that collecting keeps on disk.
    """
    if store is None:
        from labmon.app.fleet import inventory_file
        from labmon.fleet import Fleet

        fleet = Fleet.load(inventory_file(state_dir))
        machines = fleet.machines if fleet else []
        return [one.address for one in machines if any(one.address in network for network in targets.on_link)]
    from labmon.store.inventory import systems

    with store.transaction() as connection:
        return systems.addresses_in(connection, [str(one.network) for one in targets.on_link])


def asked(addresses: Targets, doubtful: Collection[str]) -> str:
    """The range whose silence means that machines are gone: without `doubtful` addresses, to which this
    machine could not send or whose answer proves nothing. Empty when none is left.

    Too long a text for the message loses its end: a machine that is not named is not taken for gone.
    """
    if doubtful:
        addresses = addresses.without(doubtful)
    text = str(addresses)
    return text if len(text) <= MAX_RANGE else text[:MAX_RANGE].rpartition(", ")[0]
