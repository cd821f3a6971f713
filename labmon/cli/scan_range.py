"""What `labmon scan` asks: what was typed, or the department's subnets, without what is excluded."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from labmon.config import Config
from labmon.errors import UsageError
from labmon.messages import MAX_RANGE
from labmon.scan import links6
from labmon.scan.target_files import expand
from labmon.scan.targets import Targets, parse

if TYPE_CHECKING:
    from labmon.store.pool import Store


def targets(
    typed: Sequence[str],
    excluded: Sequence[str],
    dept: int,
    config: Config,
    store: "Store | None",
    *,
    force: bool,
) -> Targets:
    """The addresses to ask. `store` is only used when nothing was typed. Raises UsageError."""
    return parse(
        expand(typed) if typed or store is None else _subnets(store, dept),
        max_hosts=config.scan.max_hosts,
        force=force,
        exclude=expand([*config.scan.exclude, *excluded]),
        allow=config.scan.allow,
        links=links6.networks(links6.own()),
    )


def _subnets(store: "Store", dept: int) -> list[str]:
    from labmon.store import departments  # brings psycopg, which most scans can do without for a while

    with store.transaction() as connection:
        (known,) = departments.departments(connection, dept=dept) or (None,)
    if known is None or not known.subnets:
        raise UsageError(
            f"department {dept} has no subnets: name the addresses to scan, or say once "
            f"labmon departments set {dept} --subnet 10.30.5.0/24"
        )
    return known.subnets


def asked(addresses: Targets, refused: Collection[str]) -> str:
    """What a scan may say it asked: without what this machine could not send to. Empty when that is all.

    Too long a text for the message loses its end: nobody is taken for gone who was not asked.
    """
    if refused:
        addresses = addresses.without(refused)
    text = str(addresses)
    return text if len(text) <= MAX_RANGE else text[:MAX_RANGE].rpartition(", ")[0]
