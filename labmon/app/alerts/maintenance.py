"""What `labmon maintenance` does, and how it lists maintenance and silences."""

import os
from dataclasses import dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labmon.app.scope import current_user
from labmon.errors import UsageError
from labmon.table import Column

if TYPE_CHECKING:
    from labmon.pg import Connection
    from labmon.store.inventory.maintenance import Maintenance, Mode, Scope


@dataclass(frozen=True)
class MaintenanceRow:
    """A maintenance in a list."""

    maintenance_id: int
    mode: str
    scope: str
    rule: str | None
    active: bool
    always: bool
    begins: datetime | None
    until: datetime | None
    weekly: str | None
    timezone: str | None
    said_by: str | None
    comment: str | None

    @classmethod
    def of(cls, one: "Maintenance") -> "MaintenanceRow":
        values = {field.name: getattr(one, field.name) for field in fields(cls)}
        return cls(**values | {"scope": str(one.scope)})

    @property
    def ends(self) -> str | None:
        """When it ends, as people read it."""
        return when(self.until) if self.until else "never" if self.always else None


def when(at: datetime) -> str:
    """Local time with its zone, and the day of the week."""
    return f"{at.astimezone():%a %Y-%m-%d %H:%M %Z}"


COLUMNS = [
    Column("maintenance_id", "ID", right=True),
    Column("mode", "Mode"),
    Column("scope", "Scope"),
    Column("rule", "Rule"),
    Column("active", "Now", lambda active: "on" if active else "-"),
    Column("begins", "From", when),
    Column("until", "Until", when),
    Column("always", "Always", lambda always: "yes" if always else "no", extra=True),
    Column("weekly", "Weekly", gives=True),
    Column("timezone", "Zone", extra=True),
    Column("said_by", "By", extra=True),
    Column("comment", "Comment", gives=True),
]


TABLE = [
    replace(one, field="ends", show=str) if one.field == "until" else one
    for one in COLUMNS
    if one.field != "always"
]
"""What people read; programs read `COLUMNS`."""


def plan(
    connection: "Connection[Any]",
    mode: "Mode",
    about: "Scope",
    starts_at: datetime | None,
    ends_at: datetime | None,
    *,
    weekly: str | None,
    timezone: str | None,
    comment: str | None,
    said_by: str | None = None,
) -> "Maintenance":
    """Add a maintenance, in the caller's transaction; returns it as it is now. Raises UsageError.

    Without `timezone`, weekly hours are in this machine's; without `said_by`, it is the current user's.
    """
    from labmon.store.inventory import maintenance

    number = maintenance.add(
        connection,
        mode,
        about,
        starts_at=starts_at,
        ends_at=ends_at,
        weekly=weekly,
        timezone=timezone or (_local_zone() if weekly is not None else None),
        said_by=said_by or current_user(),
        comment=comment,
    )
    return find(connection, number)


def find(connection: "Connection[Any]", number: int) -> "Maintenance":
    """The maintenance or silence of this number, whether over or not. Raises UsageError."""
    from labmon.messages import utcnow
    from labmon.store.inventory import maintenance

    for one in maintenance.maintenances(connection, utcnow(), over=True):
        if one.maintenance_id == number:
            return one
    raise UsageError(f"there is no maintenance {number}. See: labmon maintenance list")


def planned(one: "Maintenance") -> dict[str, Any]:
    """What the record of changes says of a new maintenance."""
    return {
        "maintenance_id": one.maintenance_id,
        "mode": one.mode,
        "starts_at": one.starts_at and one.starts_at.isoformat(),
        "until": one.ends_at and one.ends_at.isoformat(),
        "weekly": one.weekly,
        "timezone": one.timezone,
        "note": one.comment,
    }


def described(one: "Maintenance") -> str:
    """A maintenance or a silence in one line, for questions."""
    what = f"silence {one.maintenance_id}" if one.mode == "silence" else f"maintenance {one.maintenance_id}"
    details = [one.rule, str(one.scope), one.weekly, one.comment]
    return f"{what} ({', '.join(filter(None, details))})"


def _local_zone() -> str:
    """The name of this machine's time zone, UTC if it has none."""
    named = os.environ.get("TZ", "").lstrip(":")
    _, found, name = str(Path("/etc/localtime").resolve()).partition("zoneinfo/")
    return named if "/" in named or named == "UTC" else name if found else "UTC"
