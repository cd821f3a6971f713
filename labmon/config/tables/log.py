"""[log]"""

from typing import Annotated, Literal

from labmon.config.tables.fields import Table, comment


class LogConfig(Table, frozen=True, kw_only=True):
    """The log, on stderr."""

    level: Annotated[Literal["debug", "info", "warning", "error"], comment("Log this level and above.")] = (
        "warning"
    )
