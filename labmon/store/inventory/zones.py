"""Time zones of weekly hours: by name, with the rules of the database server, which works the hours out."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import psycopg
from psycopg import Connection

from labmon.errors import UsageError

REGIONS = {
    "CET": "Europe/Brussels",
    "MET": "Europe/Brussels",
    "EET": "Europe/Athens",
    "WET": "Europe/Lisbon",
    "EST": "America/Panama",
    "MST": "America/Phoenix",
    "HST": "Pacific/Honolulu",
}
"""Zones of the tz database (which made them links to these) whose names PostgreSQL takes for abbreviations of
a fixed offset: winter time all year."""

NO_REGIONS = ("localtime", "posixrules", "Factory")
"""In the tz database's folder, but another zone on each machine, or none."""

MOMENTS = [datetime(2025, 1, 1, 12, tzinfo=UTC) + timedelta(days=30 * number) for number in range(37)]
"""When the server's rules are compared with Python's."""


def resolve(connection: Connection[Any], name: str | None) -> str:
    """The name of the zone as the server knows it.

    Raises UsageError for one that does not exist, or that the server takes for something else.
    """
    if name in NO_REGIONS or name not in available_timezones():
        raise UsageError(f"there is no time zone {name!r}. Write it as Europe/Berlin")
    name = REGIONS.get(name, name)
    try:
        with connection.transaction():
            rows = connection.execute(
                "SELECT at AT TIME ZONE %s FROM unnest(%s::timestamptz[]) "
                "WITH ORDINALITY AS asked (at, place) ORDER BY place",
                [name, MOMENTS],
            ).fetchall()
    except psycopg.errors.InvalidParameterValue:
        raise UsageError(
            f"the database server does not know the time zone {name!r}. Write it as Europe/Berlin"
        ) from None
    zone = ZoneInfo(name)
    if any(row[0] != at.astimezone(zone).replace(tzinfo=None) for row, at in zip(rows, MOMENTS, strict=True)):
        raise UsageError(
            f"the database server has other rules for the time zone {name!r} than this machine. Write it as "
            "Europe/Berlin, or update the package tzdata on both"
        )
    return name
