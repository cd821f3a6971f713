"""[database]"""

from typing import Annotated, Literal

from labmon.config.tables.fields import Table, comment
from labmon.config.units import Seconds


class DatabaseConfig(Table, frozen=True, kw_only=True):
    """The database that holds the inventory, the measurements and the alerts."""

    url: Annotated[
        str,
        comment(
            "PostgreSQL 14 or later, such as postgresql://labmon:secret@db.example.edu/labmon. "
            "Empty: an embedded PostgreSQL in the state folder, started and stopped by labmon itself.",
            secret=True,
        ),
    ] = ""
    pool_size: Annotated[int, comment("Maximum number of connections per process.", ge=1, le=1000)] = 8
    connect_timeout: Annotated[Seconds, comment("Timeout for connecting to the server.", least=1)] = Seconds(
        10
    )
    timescale: Annotated[
        Literal["off", "auto"],
        comment(
            "auto (experimental): if the database has TimescaleDB and holds no readings yet, `labmon db "
            "migrate` makes the table of readings a hypertable, with compression and retention."
        ),
    ] = "off"
