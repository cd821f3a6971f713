"""[retention]"""

import math
from collections.abc import Iterator
from typing import Annotated

from labmon.config.tables.fields import Table, comment
from labmon.config.units import Seconds


class RetentionConfig(Table, frozen=True, kw_only=True):
    """How long data is kept. It is dropped by whole days, months or years. 0s: kept forever."""

    raw: Annotated[
        Seconds,
        comment(
            "Single readings, dropped only after they are in the rollups. Readings that arrive later than "
            "this become dead letters."
        ),
    ] = Seconds(1825 * 86400)
    pack_after: Annotated[
        Seconds,
        comment(
            "Age at which a day of readings is packed to an eighth of its size; queries see no difference. "
            "At least 1d. 0s: never.",
        ),
    ] = Seconds(7 * 86400)
    rollup_5m: Annotated[Seconds, comment("Rollups of 5 minutes.")] = Seconds(90 * 86400)
    rollup_1h: Annotated[Seconds, comment("Rollups of an hour. At least as long as raw.")] = Seconds(
        1825 * 86400
    )
    rollup_1d: Annotated[Seconds, comment("Rollups of a day. At least as long as rollup_1h.")] = Seconds(0)
    history: Annotated[
        Seconds, comment("The history of machines: found, moved, gone, changes of status.")
    ] = Seconds(1825 * 86400)
    alerts: Annotated[Seconds, comment("Alerts that are over.")] = Seconds(1825 * 86400)
    audit: Annotated[Seconds, comment("The audit: who changed what.")] = Seconds(730 * 86400)

    def faults(self) -> Iterator[tuple[str, str]]:
        """A rollup is kept as long as its source, or late data would be added to a rollup that is gone."""
        for finer, coarser in (("raw", "rollup_1h"), ("rollup_1h", "rollup_1d")):
            short, long = (float(getattr(self, name)) or math.inf for name in (finer, coarser))
            if long < short:
                yield coarser, f"{getattr(self, coarser)} is shorter than {finer}, {getattr(self, finer)}"
        if 0 < self.pack_after < 86400:
            yield "pack_after", "expected at least 1d"
