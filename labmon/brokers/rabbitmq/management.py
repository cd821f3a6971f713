"""RabbitMQ's management API: what AMQP cannot ask or set. Only where `[queue] management_url` names it."""

import base64
import json
import re
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import quote, urlsplit

from labmon import cleartext
from labmon.brokers.rabbitmq.connection import RabbitEndpoint
from labmon.errors import BrokerForbidden, BrokerRefused, BrokerUnavailable

TIMEOUT = 5.0


class Management:
    """Asks as the same account as everything else does."""

    def __init__(self, server: RabbitEndpoint) -> None:
        """Raises BrokerRefused for an address that is none."""
        self._server = server
        self._url = urlsplit(server.management_url)
        try:
            self._port = self._url.port
            understood = self._url.scheme in ("http", "https") and self._url.hostname
        except ValueError:
            understood = False
        if not understood:
            raise BrokerRefused(
                "RabbitMQ: [queue] management_url is no address. It looks like http://mq.example.edu:15672"
            )

    def policy_of(self, queue: str) -> str | None:
        """The name of the policy that is in force for it."""
        found = self._ask("GET", f"queues/{self._vhost}/{quote(queue, safe='')}")
        policy = found.get("policy") if isinstance(found, dict) else None
        return policy if isinstance(policy, str) and policy else None

    def policy(self, name: str) -> dict[str, Any] | None:
        """The policy's body, without its names. None when there is none."""
        found = self._ask("GET", f"policies/{self._vhost}/{quote(name, safe='')}")
        if not isinstance(found, dict):
            return None
        return {key: value for key, value in found.items() if key not in ("vhost", "name")}

    def set_policy(self, name: str, policy: dict[str, Any]) -> None:
        """Make it, or change it."""
        self._ask("PUT", f"policies/{self._vhost}/{quote(name, safe='')}", policy)

    @property
    def _vhost(self) -> str:
        return quote(self._server.vhost, safe="")

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """The answer, decoded; None for one that is not there. Raises BrokerUnavailable and BrokerRefused."""
        host = self._url.hostname or ""
        where = f"RabbitMQ's management at {host}:{self._port or ''}".rstrip(":")
        login = base64.b64encode(f"{self._server.user}:{self._server.password}".encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
        connection: HTTPConnection
        if self._url.scheme == "https":
            context = self._server.tls_context()
            connection = HTTPSConnection(host, self._port, timeout=TIMEOUT, context=context)
        else:
            connection = HTTPConnection(host, self._port, timeout=TIMEOUT)
        try:
            if self._url.scheme == "http":
                cleartext.warn(where, host, "Use https in [queue] management_url")
            connection.request(
                method,
                f"{self._url.path.rstrip('/')}/api/{path}",
                json.dumps(body) if body else None,
                headers,
            )
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException) as error:
            said = (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
            raise BrokerUnavailable(f"{where}: {said}. Check [queue] management_url") from error
        finally:
            connection.close()
        if answer.status == 404:
            return None
        if answer.status in (401, 403):
            step = f"Grant it with: rabbitmqctl set_user_tags {self._server.user} policymaker"
            raise BrokerForbidden(f"{where} refused {self._server.user}. {step}")
        try:
            decoded = json.loads(text) if text else {}
        except ValueError:
            decoded = None
        if answer.status >= 300 or decoded is None:
            reason = decoded.get("reason") if isinstance(decoded, dict) else None
            said = " ".join(re.sub(r"<[^>]*>", " ", str(reason or answer.reason)).split())
            raise BrokerUnavailable(f"{where}: {answer.status} {said}. Check [queue] management_url")
        return decoded
