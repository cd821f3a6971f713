"""[spool]"""

from typing import Annotated

from labmon.config.tables.fields import Table, comment
from labmon.config.units import Bytes, Seconds


class SpoolConfig(Table, frozen=True, kw_only=True):
    """Messages kept on disk while the broker or the database cannot take them."""

    max_bytes: Annotated[
        Bytes,
        comment(
            "Maximum size, at least 1MiB. When it is full, the oldest messages are dropped and counted.",
            least=2**20,
        ),
    ] = Bytes(256 * 2**20)
    max_age: Annotated[
        Seconds,
        comment("Maximum age. Older messages are dropped and counted when others are added."),
    ] = Seconds(7 * 86400)
