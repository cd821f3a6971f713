"""JSON to an http(s) address, signed.

The header `Labmon-Signature: t=SECONDS,v1=HEX` holds the HMAC-SHA256 (RFC 2104) of the time, a dot and the
body, under the target's secret. The time is under the signature too, so that an attacker cannot send an old
notification again; a receiver refuses what is some minutes old.
"""

import email.utils
import hashlib
import hmac
import time
from collections.abc import Callable
from datetime import UTC

import msgspec
import requests

from labmon import __version__
from labmon.alerts.notify.notification import Notification
from labmon.alerts.notify.sender import SendFailed, within
from labmon.messages import utcnow

HEADER = "Labmon-Signature"

AGAIN = {408, 425, 429}
"""Answers of the 4xx range that another attempt may change (RFC 9110, 8470, 6585); and all of 5xx."""

REFUSED = {400, 413, 414, 422, 431}
"""Answers about the contents of a request, not its sender or address: fewer alerts may be accepted."""

MAX_AFTER = 3600.0
"""Seconds. A longer Retry-After is not believed."""


def signature(secret: str, body: bytes, at: int) -> str:
    """The header's text. `at`: seconds since the epoch."""
    digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class WebhookSender:
    """Posts notifications to one address. Certificates are checked, redirects are not followed.

    A redirect would carry what was signed for one address to another.
    """

    def __init__(
        self, url: str, secret: str, timeout: float, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._url = url
        self._secret = secret
        self._timeout = timeout
        self._clock = clock

    def send(self, notification: Notification) -> None:
        """Post it. Raises SendFailed unless the answer is one of 2xx."""
        within(self._timeout, lambda: self._post(notification))

    def _post(self, notification: Notification) -> None:
        body = msgspec.json.encode(notification.body(utcnow()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"labmon/{__version__}",
            "Idempotency-Key": notification.key,
        }
        if self._secret:
            headers[HEADER] = signature(self._secret, body, int(self._clock()))
        try:
            with requests.post(
                self._url,
                data=body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                stream=True,  # the answer is not read, however long it is
            ) as answer:
                code, after = answer.status_code, answer.headers.get("Retry-After", "")
        except requests.exceptions.SSLError as error:
            raise SendFailed(f"its certificate is not accepted: {_cause(error)}") from error
        except requests.exceptions.Timeout as error:
            raise SendFailed(f"no answer within {self._timeout:g} s") from error
        except requests.exceptions.ConnectionError as error:
            raise SendFailed(f"no connection: {_cause(error)}") from error
        except (requests.exceptions.RequestException, ValueError) as error:
            raise SendFailed(f"not an address to post to: {type(error).__name__}", again=False) from error
        if 200 <= code < 300:
            return
        said = f"it answered {code}"
        if 300 <= code < 400:
            raise SendFailed(f"{said}, a redirect, which is not followed", again=False)
        raise SendFailed(
            said,
            again=code in AGAIN or code >= 500,
            after=self._wished_pause(after),
            refused=code in REFUSED,
        )

    def _wished_pause(self, header: str) -> float:
        """Seconds, from a Retry-After of either kind (RFC 9110, section 10.2.3); 0 for what is neither."""
        if header.isascii() and header.isdigit():
            return min(float(header), MAX_AFTER)
        try:
            at = email.utils.parsedate_to_datetime(header)
            seconds = at.replace(tzinfo=at.tzinfo or UTC).timestamp() - self._clock()
        except (ValueError, OverflowError):
            return 0.0
        return min(max(seconds, 0.0), MAX_AFTER)


def _cause(error: BaseException) -> str:
    """The innermost reason, which names no address: that may hold a token."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
