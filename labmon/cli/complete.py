"""What the shell offers on Tab: systems, labs, departments, rules, targets, metrics, statuses.

Asked in the middle of a command line, so it prints nothing, waits a second at most, and starts no server.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import typer

from labmon.config.units import Seconds

if TYPE_CHECKING:
    from labmon.config.tables import Config
    from labmon.pg import Connection
    from labmon.store.inventory.names import Named

WAIT = Seconds(1)
"""Seconds for the database to answer."""

Names = list[str]


def systems(ctx: typer.Context, incomplete: str) -> Names:
    """Host names up to the first dot, those that are one's alone; else addresses."""
    found = _named(ctx)
    short = [(one.hostname or "").split(".")[0] for one in found]
    names = [
        name if name and short.count(name) == 1 else one.hostname or one.ip_address or str(one.system_id)
        for one, name in zip(found, short, strict=True)
    ]
    addresses = [one.ip_address for one in found if one.ip_address] if incomplete[:1].isdigit() else []
    return _begun([*names, *addresses], incomplete)


def labs(ctx: typer.Context, incomplete: str) -> Names:
    """Names of labs."""
    from labmon.store.inventory.labs import names

    return _begun((one.name for one in _ask(ctx, names)), incomplete)


def departments(ctx: typer.Context, incomplete: str) -> Names:
    """Their numbers, codes and names."""
    from labmon.store.inventory.departments import departments

    found = _ask(ctx, departments)
    names = (str(name) for one in found for name in (one.dept_id, one.code, one.name) if name)
    return _begun(names, incomplete)


def rules(ctx: typer.Context, incomplete: str) -> Names:
    """Names of alert rules."""
    from labmon.alerts.rules import rules

    return _begun((one.name for one in _ask(ctx, lambda store: rules(store).values())), incomplete)


def targets(ctx: typer.Context, incomplete: str) -> Names:
    """Names of notification targets."""
    config = _config(ctx)
    return _begun((one.name for one in config.notify.targets) if config else (), incomplete)


def queues(ctx: typer.Context, incomplete: str) -> Names:
    """Names of the configured queues."""
    config = _config(ctx)
    return _begun(config.queue.names if config else (), incomplete)


def metrics(incomplete: str) -> Names:
    """Names of metrics."""
    from labmon.messages import Readings

    return _begun(Readings.__struct_fields__, incomplete)


def statuses(incomplete: str) -> Names:
    """Statuses, as the command line takes them without quotes."""
    from labmon.store.inventory.statuses import STATUSES

    return _begun((one.replace(" ", "-") for one in STATUSES), incomplete)


def _begun(names: Iterable[str], incomplete: str) -> Names:
    wanted = incomplete.casefold()
    return sorted({name for name in names if name.isprintable() and name.casefold().startswith(wanted)})


def _named(ctx: typer.Context) -> "list[Named]":
    from labmon.store.inventory.names import named

    found: list[Named] = _ask(ctx, named)
    return found


def _config(ctx: typer.Context) -> "Config | None":
    from labmon.config.load import load
    from labmon.errors import LabmonError

    try:
        return load(ctx.find_root().params.get("config_file")).config
    except (LabmonError, OSError):
        return None


def _ask(ctx: typer.Context, read: "Callable[[Connection[Any]], Any]") -> Any:
    """What `read` finds in the database; nothing where it is away, or is the embedded one and does not run."""
    import logging

    import msgspec

    config = _config(ctx)
    if config is None:
        return []
    from labmon.store.embedded import running_url
    from labmon.store.pool import Store

    logging.disable()
    try:
        url = config.database.url or running_url(config.state.path)
        if url is None:
            return []
        quick = msgspec.structs.replace(config.database, url=url, connect_timeout=WAIT)
        with Store(quick, config.state, answer_within=WAIT) as store, store.transaction() as connection:
            connection.execute("SET TRANSACTION READ ONLY")
            return read(connection)
    except Exception:  # whatever it is: a Tab is no place for it
        return []
