"""[heartbeat]"""

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from labmon.config.tables.fields import Table, comment
from labmon.config.units import Seconds


class HeartbeatConfig(Table, frozen=True, kw_only=True):
    """A sign of life for what watches labmon from outside, such as healthchecks.io: silence is the alarm."""

    url: Annotated[
        str,
        comment(
            "An http(s) URL that is requested (GET) after each round of `labmon collect` whose results have "
            "arrived, and every minute by `labmon consume` while the database and the queue answer. "
            "{command} in it becomes collect or consume: one check for each, since with one for both the "
            "silence of one is not noticed. Empty: none.",
            secret=True,
        ),
    ] = ""
    timeout: Annotated[Seconds, comment("How long to wait for an answer.", least=1)] = Seconds(10)

    def faults(self) -> Iterator[tuple[str, str]]:
        """It is a web address."""
        if self.url and not _is_web_address(self.url):
            yield "url", "expected https://HOST/PATH"


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
