"""One request to a web address of the configuration. The only importer of requests.

Certificates are checked, redirects are not followed: one would carry what was meant for one address to
another. What is raised names no address, which may hold a token.
"""

from collections.abc import Mapping

import requests

from labmon import __version__


class RequestFailed(Exception):
    """There was no answer. The text is one line and holds no secret. `again`: another attempt may succeed."""

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.again = again


def request(
    method: str,
    url: str,
    timeout: float,
    *,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    auth: tuple[str, str] | None = None,
) -> tuple[int, str]:
    """The status of the answer and its Retry-After; its body is not read, however long it is.

    `timeout` is in seconds, for each read: who needs a deadline has one of his own. Raises RequestFailed.
    """
    try:
        with requests.request(
            method,
            url,
            data=body,
            headers={"User-Agent": f"labmon/{__version__}"} | dict(headers or {}),
            auth=auth,
            timeout=timeout,
            allow_redirects=False,
            stream=True,
        ) as answer:
            return answer.status_code, answer.headers.get("Retry-After", "")
    except requests.exceptions.SSLError as error:
        raise RequestFailed(f"its certificate is not accepted: {_cause(error)}") from error
    except requests.exceptions.Timeout as error:
        raise RequestFailed(f"no answer within {timeout:g} s") from error
    except requests.exceptions.ConnectionError as error:
        raise RequestFailed(f"no connection: {_cause(error)}") from error
    except (requests.exceptions.RequestException, ValueError) as error:
        raise RequestFailed(f"not an address to ask: {type(error).__name__}", again=False) from error


def _cause(error: BaseException) -> str:
    """The innermost reason, which names no address."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
