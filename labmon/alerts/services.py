"""Everything that Apprise can tell: mail, chat, phones. The only importer of it.

Apprise says yes or no, and why only in its log. A no is tried again, since it may be the network.
"""

import logging
import re
import threading
from typing import Any

import apprise

from labmon.alerts.notification import Notification
from labmon.alerts.sender import SendFailed
from labmon.errors import ConfigError

_log = logging.getLogger("apprise")
_log.propagate = False  # what it says becomes the reason of a failure

TYPES = {
    "critical": apprise.NotifyType.FAILURE,
    "warning": apprise.NotifyType.WARNING,
    "info": apprise.NotifyType.INFO,
    "resolved": apprise.NotifyType.SUCCESS,
}


class Service:
    """Tells one target through Apprise. Raises ConfigError for an address that Apprise cannot read."""

    def __init__(self, name: str, url: str) -> None:
        service: Any = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        if service is None:
            raise ConfigError(
                f"[[notify.targets]] {name}: no service of Apprise has such a url. "
                "See: https://github.com/caronc/apprise/wiki"
            )
        self._service = apprise.Apprise(service)
        shown = service.url(privacy=True)
        words = re.split(r"[/:@?&=,]+", url) + re.split(r"[/:@?&=,]+", service.url(privacy=False))
        self._secrets = sorted({w for w in words if len(w) > 3 and w not in shown}, key=len, reverse=True)

    def send(self, notification: Notification) -> None:
        """Tell it. Raises SendFailed, with what Apprise logged as the reason."""
        heard = _Heard()
        _log.addHandler(heard)
        try:
            taken = self._service.notify(
                title=f"[labmon] {notification.title}",
                body=notification.text,
                notify_type=TYPES[notification.severity],
                # Else a service that speaks HTML, as mail does, runs our lines into one, names and all.
                body_format=apprise.NotifyFormat.TEXT,
            )
        except Exception as error:  # a plug-in's bug, of over a hundred
            raise SendFailed(f"Apprise: {type(error).__name__}") from error
        finally:
            _log.removeHandler(heard)
        if not taken:
            raise SendFailed(self._masked(heard.lines[-1] if heard.lines else "Apprise could not send it"))

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())[:300]


class _Heard(logging.Handler):
    """What Apprise logs in this thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.lines.append(record.getMessage())
