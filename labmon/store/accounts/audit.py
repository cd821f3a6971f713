"""The record of changes: who changed what, when, from where. Rows are added, never changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

LONGEST = 1000
"""Characters of an object, which may quote what somebody typed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change."""

    audit_id: int
    at: datetime
    actor: str
    action: str
    object: str
    detail: dict[str, Any]
    address: str


def record(
    connection: Connection[Any],
    actor: str,
    action: str,
    object: str,
    detail: Mapping[str, Any] | None = None,
    *,
    address: str,
) -> None:
    """Add one, in the transaction that makes the change. `detail` is JSON, and holds no secret.

    What is None there was not said, and is left out.
    """
    said = {name: value for name, value in (detail or {}).items() if value is not None}
    connection.execute(
        "INSERT INTO audit (actor, action, object, detail, address) VALUES (%s, %s, %s, %s, %s)",
        [actor, action, object[:LONGEST], Jsonb(said), address],
    )


def entries(connection: Connection[Any], *, before: int | None, limit: int, words: str = "") -> list[Entry]:
    """The newest first; with `before`, those older than that number; with `words`, those that hold them."""
    with connection.cursor(row_factory=class_row(Entry)) as cursor:
        cursor.execute(
            "SELECT audit_id, at, actor, action, object, detail, address FROM audit "
            "WHERE (%(before)s::bigint IS NULL OR audit_id < %(before)s) "
            "AND (%(words)s = '' OR "
            "strpos(lower(concat_ws(' ', actor, action, object, detail, address)), %(words)s) > 0) "
            "ORDER BY audit_id DESC LIMIT %(limit)s",
            {"before": before, "limit": limit, "words": words.lower()},
        )
        return cursor.fetchall()
