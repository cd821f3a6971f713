"""Requests that another site makes a browser send: refused unless they are surely from our own pages."""

import hmac
from collections.abc import Mapping

from labmon.dashboard.security.hosts import origin_of

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

HEADER = "x-csrf-token"


def foreign_origin(headers: Mapping[str, str], url: str, scheme: str) -> str:
    """Why a request is not from a page of ours; "" when it is, or when the browser does not say.

    `url` is the dashboard's address in the browser, where it is configured: behind a proxy the Host header
    may be another. `scheme` is that of the request, which a proxy that ends TLS has to tell us.
    """
    origin = headers.get("origin")
    if origin is not None:
        ours = {origin_of(f"{scheme}://{headers.get('host', '')}")}
        if url:
            ours.add(origin_of(url))
        if "://" not in origin or origin_of(origin) not in ours:
            return "the request comes from a page of another site"
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return "the request comes from a page of another site"
    return ""


def fault(method: str, headers: Mapping[str, str], url: str, token: str, scheme: str) -> str:
    """Why a request with a cookie may not change anything; "" when it may.

    `token` is the session's. A form of another site can send neither the header nor JSON.
    """
    if method in SAFE:
        return ""
    if reason := foreign_origin(headers, url, scheme):
        return reason
    if not hmac.compare_digest(headers.get(HEADER, "").encode(), token.encode()):
        return "the X-CSRF-Token header is missing or old. Reload the page"
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    if kind != "application/json" and (kind or has_body):
        return "the body must be JSON (Content-Type: application/json)"
    return ""
