"""Machines whose clock is wrong: the collector is the first to see it."""

import logging

from labmon.collect.probe.parse import MAX_SKEW
from labmon.collect.result import Result

logger = logging.getLogger(__name__)

NOTABLE = 30.0
"""Seconds. The way there and back and a busy machine make some; a clock set over the network is off by less
than one."""


class ClockSkews:
    """Reports a machine's wrong clock once, and once more when it is right again: not in each round."""

    def __init__(self) -> None:
        self._wrong: set[str] = set()

    def check(self, result: Result) -> str | None:
        """A sentence, when something changed; it is logged too. A machine that failed tells no time."""
        skew, target = result.clock_skew, result.target
        if skew is None or (abs(skew) >= NOTABLE) == (target.key in self._wrong):
            return None
        if target.key in self._wrong:
            self._wrong.discard(target.key)
            text = f"{target}: its clock is right again"
        else:
            self._wrong.add(target.key)
            text = f"{target}: its clock is {abs(skew):.0f} s {'ahead' if skew > 0 else 'behind'}"
            if abs(skew) > MAX_SKEW.total_seconds():
                text += ", so its measurements carry the time of this machine"
        logger.info("%s", text, extra={"system_id": target.system_id, "clock_skew": skew})
        return text
