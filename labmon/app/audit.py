"""The record of changes that commands make: who changed what, beside what the dashboard's users change."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from labmon.app.open import open_store
from labmon.app.scope import current_user
from labmon.errors import LabmonError

if TYPE_CHECKING:
    from labmon.config.tables import Config
    from labmon.pg import Connection

WHERE = "command line"
"""In place of the address that a browser has."""


def record(
    connection: "Connection[Any]", action: str, object: str, detail: Mapping[str, Any] | None = None
) -> None:
    """Record what the current account did, in the transaction that does it. `detail` is JSON."""
    from labmon.store.accounts import audit

    audit.record(connection, current_user(), action, object, detail, address=WHERE)


def record_apart(
    config: "Config",
    action: str,
    object: str,
    detail: Mapping[str, Any],
    notice: Callable[[str], None],
) -> None:
    """Record what was done to a queue. A database that is away does not undo it: `notice` gets a line.

    Where labmon has no database yet, none is made for this.
    """
    if not (config.database.url or config.queue.in_store or (config.state.path / "postgres").exists()):
        return
    try:
        with open_store(config) as store, store.transaction() as connection:
            record(connection, action, object, detail)
    except LabmonError as error:
        notice(f"not in the record of changes: {error}")
