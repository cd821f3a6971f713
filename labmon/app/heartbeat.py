"""The heartbeat outwards: a request that says "still at work" to whatever watches labmon."""

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from labmon.config.tables import HeartbeatConfig

logger = logging.getLogger(__name__)

GRACE = 0.5
"""Seconds that a request is waited for beyond its timeout: then it says itself that it failed."""


class HeartbeatUrl:
    """The configured address. Without one, nothing is requested."""

    def __init__(self, settings: "HeartbeatConfig", command: str) -> None:
        """`command`: collect or consume."""
        self._url = settings.url.replace("{command}", command)
        self._timeout = float(settings.timeout)
        self._failed = False
        self._busy = threading.Lock()

    def request(self) -> None:
        """Ask it once, for about its timeout at most. The first failure of several is logged, none raised."""
        if not self._url or not self._busy.acquire(blocking=False):
            return
        # A daemon: a server that answers a byte a second keeps neither a round nor the end of labmon waiting.
        thread = threading.Thread(target=self._ask, name="labmon-heartbeat", daemon=True)
        thread.start()
        thread.join(self._timeout + GRACE)

    def request_soon(self) -> None:
        """The same, without waiting; not while the request before it is under way."""
        if self._url:
            threading.Thread(target=self.request, name="labmon-heartbeat-wait", daemon=True).start()

    def _ask(self) -> None:
        from labmon.http_request import RequestFailed, request  # few sites have one

        try:
            code, _ = request("GET", self._url, self._timeout)
            failure = "" if 200 <= code < 300 else f"it answered {code}"
        except RequestFailed as error:
            failure = str(error)
        finally:
            self._busy.release()
        if failure and not self._failed:
            logger.warning("[heartbeat] url: %s", failure)
        elif self._failed and not failure:
            logger.warning("[heartbeat] url: it answers again")
        self._failed = bool(failure)
