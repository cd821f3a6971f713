"""What `labmon scan` asks: what was typed, or the department's subnets, without what is excluded."""

from collections.abc import Collection, Iterable, Sequence
from ipaddress import ip_address

from labmon.config import Config
from labmon.errors import UsageError
from labmon.messages import MAX_RANGE
from labmon.scan.targets import Span, Targets, parse
from labmon.store import departments
from labmon.store.pool import Store


def targets(
    typed: Sequence[str],
    excluded: Sequence[str],
    dept: int,
    config: Config,
    store: Store | None,
    *,
    force: bool,
) -> Targets:
    """The addresses to ask. `store` is only used when nothing was typed. Raises UsageError."""
    ranges = typed or (_subnets(store, dept) if store else [])
    most = config.scan.max_hosts
    if not excluded:
        return parse(ranges, max_hosts=most, force=force)
    # What is left counts against the limit, not what was typed.
    wanted = parse(ranges, max_hosts=2**32, force=force)
    left = without(wanted, parse(excluded, max_hosts=2**32, force=True).spans)
    if not left:
        raise UsageError("nothing is left to scan: --exclude covers it all")
    return parse(str(left).split(", "), max_hosts=most, force=force)


def _subnets(store: Store, dept: int) -> list[str]:
    with store.transaction() as connection:
        (known,) = departments.departments(connection, dept=dept) or (None,)
    if known is None or not known.subnets:
        raise UsageError(
            f"department {dept} has no subnets: name the addresses to scan, or say once "
            f"labmon departments set {dept} --subnet 10.30.5.0/24"
        )
    return known.subnets


def without(wanted: Targets, holes: Iterable[Span]) -> Targets:
    """The targets outside the holes, which are spans in ascending order."""
    left: list[Span] = []
    gaps = list(holes)
    at = 0
    for first, last in wanted.spans:
        while at < len(gaps) and gaps[at][1] < first:
            at += 1
        here = at
        while here < len(gaps) and gaps[here][0] <= last:
            if gaps[here][0] > first:
                left.append((first, gaps[here][0] - 1))
            first = gaps[here][1] + 1
            here += 1
        if first <= last:
            left.append((first, last))
    return Targets(left)


def asked(addresses: Targets, refused: Collection[str]) -> str:
    """What a scan may say it asked: without what this machine could not send to. Empty when that is all.

    Too long a text for the message loses its end: nobody is taken for gone who was not asked.
    """
    holes = Targets((int(ip_address(one)),) * 2 for one in refused)
    text = str(without(addresses, holes.spans))
    return text if len(text) <= MAX_RANGE else text[:MAX_RANGE].rpartition(", ")[0]
