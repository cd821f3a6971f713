"""[events]"""

from typing import Annotated

from labmon.config.tables.fields import Table, comment
from labmon.config.units import Seconds


class EventsConfig(Table, frozen=True, kw_only=True):
    """Copies of all accepted messages, for `labmon events` and `labmon replay`."""

    keep: Annotated[Seconds, comment("How long to keep them. Whole days are dropped. 0s: keep none.")] = (
        Seconds(7 * 86400)
    )
