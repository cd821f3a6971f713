"""JSON to an http(s) address, signed.

The header `Labmon-Signature: t=SECONDS,v1=HEX` holds the HMAC-SHA256 (RFC 2104) of the time, a dot and the
body, under the target's secret. The time is under the signature too, so that an attacker cannot send an old
notification again; a receiver refuses what is some minutes old.
"""

import email.utils
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from datetime import UTC

import msgspec

from labmon.alerts.notify.notification import Notification
from labmon.alerts.notify.sender import SendFailed, within
from labmon.http_request import RequestFailed, request
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


def post_json(
    url: str,
    body: bytes,
    timeout: float,
    *,
    headers: Mapping[str, str] | None = None,
    auth: tuple[str, str] | None = None,
    now: float,
) -> None:
    """Post it. Raises SendFailed unless the answer is one of 2xx. `now`: seconds since the epoch."""
    try:
        code, after = request(
            "POST",
            url,
            timeout,
            body=body,
            headers={"Content-Type": "application/json"} | dict(headers or {}),
            auth=auth,
        )
    except RequestFailed as error:
        raise SendFailed(str(error), again=error.again) from error
    if 200 <= code < 300:
        return
    said = f"it answered {code}"
    if 300 <= code < 400:
        raise SendFailed(f"{said}, a redirect, which is not followed", again=False)
    raise SendFailed(
        said, again=code in AGAIN or code >= 500, after=_wished_pause(after, now), refused=code in REFUSED
    )


class WebhookSender:
    """Posts notifications to one address."""

    resend = 0.0

    def __init__(
        self, url: str, secret: str, timeout: float, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._url = url
        self._secret = secret
        self._timeout = timeout
        self._clock = clock

    def send(self, notification: Notification) -> None:
        """Post it. Raises SendFailed unless the answer is one of 2xx."""
        body = msgspec.json.encode(notification.body(utcnow()))
        headers = {"Idempotency-Key": notification.key}
        if self._secret:
            headers[HEADER] = signature(self._secret, body, int(self._clock()))
        within(
            self._timeout,
            lambda: post_json(self._url, body, self._timeout, headers=headers, now=self._clock()),
        )


def _wished_pause(header: str, now: float) -> float:
    """Seconds, from a Retry-After of either kind (RFC 9110, section 10.2.3); 0 for what is neither."""
    if header.isascii() and header.isdigit():
        return min(float(header), MAX_AFTER)
    try:
        at = email.utils.parsedate_to_datetime(header)
        seconds = at.replace(tzinfo=at.tzinfo or UTC).timestamp() - now
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), MAX_AFTER)
