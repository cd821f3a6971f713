"""The schema as SQL files, one topic each.

tables/     what holds data: tables with their indexes, types, the first rows. Applied once, to an empty
            database. They are version 26, the baseline, and stay as they are: what changes afterwards is a
            numbered file of `migrations/`.
functions/  what holds none: functions, views, triggers, as they are now. CREATE OR REPLACE only: a file is
            applied again to a database that has another text of it.
timescale/  for `store.timescale` alone.
"""

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

TABLES = (
    "inventory",
    "metrics",
    "rollups",
    "packing",
    "events",
    "maintenance",
    "alert_rules",
    "alerts",
    "deliveries",
    "workers",
)
"""The files of tables/, each after those that it refers to."""

FUNCTIONS = (
    "inventory",
    "partitions",
    "rollups",
    "packing",
    "events",
    "maintenance",
    "alert_states",
    "alert_notify",
    "alert_rules",
    "alert_readings",
    "alert_silence",
    "alert_tick",
    "filesystems",
    "triggers",
)
"""The files of functions/, each after those that it calls."""


@dataclass(frozen=True, slots=True)
class File:
    """The SQL of one topic."""

    name: str
    sql: bytes

    @property
    def sha256(self) -> str:
        """Of its text, in hexadecimal."""
        return sha256(self.sql).hexdigest()


def tables() -> list[File]:
    """What an empty database gets first, in order."""
    return [read("tables", name) for name in TABLES]


def functions() -> list[File]:
    """What every database gets last, in order."""
    return [read("functions", name) for name in FUNCTIONS]


@cache
def read(folder: str, name: str) -> File:
    """One file of the folders above."""
    return File(name, files(__name__).joinpath(folder, f"{name}.sql").read_bytes())
