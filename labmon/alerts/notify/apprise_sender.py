"""Mail, chat and phones through Apprise. The only importer of it.

Apprise says yes or no; the reason is in what its plug-in logs. A no is retried, since it may be the network.
"""

import difflib
import logging
import re
import threading
from typing import Any

import apprise
from apprise.manager_plugins import NotificationManager
from apprise.plugins.email import base as mail

from labmon.alerts.notify.notification import Notification
from labmon.alerts.notify.sender import SendFailed, within
from labmon.alerts.notify.templates.parts import Rendered
from labmon.errors import ConfigError

logging.getLogger("apprise").propagate = False  # what it logs becomes the reason of a failure

TYPES = {
    "critical": apprise.NotifyType.FAILURE,
    "warning": apprise.NotifyType.WARNING,
    "info": apprise.NotifyType.INFO,
    "resolved": apprise.NotifyType.SUCCESS,
}

_plain = threading.local()
"""`text`: of the mail that this thread is sending."""

_from_html: Any = mail.convert_between  # type: ignore[attr-defined]


def _plain_part(*arguments: Any, **more: Any) -> Any:
    """Of a mail in HTML, Apprise makes the plain part by itself. Ours is written for people."""
    return getattr(_plain, "text", None) or _from_html(*arguments, **more)


mail.convert_between = _plain_part  # type: ignore[attr-defined]

REFUSED = re.compile(r"\berror[ =:]+(?:400|413|414|422)\b")
"""How a plug-in logs that a service did not like the contents (RFC 9110, 15.5)."""


class AppriseSender:
    """Sends to one target through Apprise. Raises ConfigError for a url that Apprise cannot read.

    Redirects are not followed: they would carry the alerts to whatever address an answer names. A text longer
    than the service takes is split into several. A mail has the text twice, plain and as HTML, unless the url
    asks for `format=text`.
    """

    resend = 0.0

    def __init__(self, name: str, url: str, timeout: float = 10.0) -> None:
        # Without a limit of its own Apprise sends in our thread; with one, in a pool that is waited for when
        # the process ends, however long that takes. The deadline is `within`'s.
        asset = apprise.AppriseAsset(http_redirects=False, service_timeout=0, async_mode=False)
        service: Any = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
        if service is None:
            raise ConfigError(f"[[notify.targets]] {name!r}: url: {_what_is_wrong(url)}")
        service.redirects = False  # also where the url asks for them
        if "overflow=" not in url:
            service.overflow_mode = apprise.OverflowMode.SPLIT
        self._timeout = timeout
        self._service = apprise.Apprise(service, asset=asset)
        self._html_size = (
            service.body_maxlen if isinstance(service, mail.NotifyEmail) and "format=text" not in url else 0
        )
        shown = service.url(privacy=True)
        words = re.split(r"[/:@?&=,]+", url) + re.split(r"[/:@?&=,]+", service.url(privacy=False))
        self._secrets = sorted({w for w in words if len(w) > 3 and w not in shown}, key=len, reverse=True)

    def send(self, notification: Notification) -> None:
        """Send it. Raises SendFailed, with what Apprise logged as the reason."""
        rendered, severity = notification.rendered, notification.severity
        within(self._timeout, lambda: self._send(rendered, severity))

    def _send(self, rendered: Rendered, severity: str) -> None:
        html = rendered.html if rendered.html and len(rendered.html) < self._html_size else None
        _plain.text = rendered.text if html else None
        try:
            result = self._service.notify(
                title=f"[labmon] {rendered.title}",
                body=html or rendered.text,
                notify_type=TYPES[severity],
                # Else a service that speaks HTML, as mail does, runs our lines into one, names and all.
                body_format=apprise.NotifyFormat.HTML if html else apprise.NotifyFormat.TEXT,
            )
            logged = [entry.message for entry in result.logs()]
        except Exception as error:  # a plug-in's bug, of over a hundred
            raise SendFailed(f"Apprise: {type(error).__name__}") from error
        if not result:
            refused = any(REFUSED.search(line) for line in logged)
            raise SendFailed(self._masked(_reason(logged)), refused=refused)

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())[:300]


def _what_is_wrong(url: str) -> str:
    """Only the scheme is quoted: what follows it are passwords and tokens."""
    scheme, separator, _ = url.partition("://")
    manager: Any = NotificationManager
    known = manager().schemas()
    if not separator:
        return "expected a URL of Apprise, such as mailto://user:password@example.edu, or https://..."
    if scheme.lower() not in known:
        near = difflib.get_close_matches(scheme.lower(), known, n=1, cutoff=0.5)
        return f"Apprise has no service {scheme[:30]!r}" + (f". Did you mean {near[0]}://?" if near else "")
    return f"not complete for the service {scheme.lower()!r}. See: https://github.com/caronc/apprise/wiki"


def _reason(logged: list[str]) -> str:
    """Everything that was logged, each line once: the first often says what, the last why."""
    return "; ".join(dict.fromkeys(logged)) or "Apprise gives no reason"
