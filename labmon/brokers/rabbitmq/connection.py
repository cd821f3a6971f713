"""Where RabbitMQ is, how to log in, and what its errors mean."""

import re
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from pika import ConnectionParameters, PlainCredentials, SSLOptions
from pika.adapters.utils.connection_workflow import (
    AMQPConnectionWorkflowFailed,
    AMQPConnectorException,
    AMQPConnectorPhaseErrorBase,
    AMQPConnectorStackTimeout,
)
from pika.exceptions import (
    AMQPConnectionError,
    AMQPError,
    AMQPHeartbeatTimeout,
    ChannelClosed,
    ConnectionBlockedTimeout,
    ConnectionClosed,
    ConnectionOpenAborted,
    ConsumerCancelled,
    IncompatibleProtocolError,
    StreamLostError,
)

from labmon import cleartext
from labmon.brokers.rabbitmq import permissions
from labmon.brokers.rabbitmq.permissions import Role
from labmon.brokers.rabbitmq.session import CONNECT_TIMEOUT, Session
from labmon.config.tables import QueueConfig
from labmon.errors import BrokerError, BrokerForbidden, BrokerRefused, BrokerUnavailable

AMQP, AMQPS = 5672, 5671


class RabbitEndpoint:
    """Where RabbitMQ is and how to log in. `host` may name several, "a,b:5673,c", which are tried in turn."""

    def __init__(
        self,
        host: str = "localhost",
        port: int = 0,
        user: str = "guest",
        password: str = "guest",
        *,
        vhost: str = "/",
        tls: bool = False,
        tls_ca: str = "",
        tls_verify: bool = True,
        heartbeat: int = 30,
        blocked_timeout: float = 10.0,
        management_url: str = "",
        queues: Sequence[str] = (),
    ) -> None:
        """`queues` are those that an account without permissions should be granted."""
        self.user = user
        self.password = password
        self.vhost = vhost
        self.management_url = management_url
        self._queues = tuple(queues)
        self._tls = tls
        self._tls_ca = tls_ca
        self._tls_verify = tls_verify
        self._heartbeat = heartbeat
        self._blocked_timeout = blocked_timeout
        usual = port or (AMQPS if tls else AMQP)
        self._addresses = [_address(one.strip(), usual) for one in host.split(",") if one.strip()]
        self._current = 0  #: the address that worked last
        if not self._addresses:
            raise BrokerRefused("RabbitMQ: [queue] host names none. Name one, or several with commas")

    @classmethod
    def of(cls, settings: QueueConfig) -> Self:
        """The server that `[queue]` names. Raises BrokerRefused for a host that is none."""
        return cls(
            settings.host or "localhost",
            settings.port,
            settings.user or "guest",
            settings.password or ("" if settings.user else "guest"),
            vhost=settings.vhost,
            tls=settings.tls,
            tls_ca=settings.tls_ca,
            tls_verify=settings.tls_verify,
            management_url=settings.management_url,
            queues=settings.names,
        )

    @property
    def name(self) -> str:
        """For the user: where the last connection went."""
        host, port = self._addresses[self._current]
        return f"RabbitMQ at {host}:{port}"

    def connect(self, purpose: str) -> Session:
        """A new connection, which the management page shows by this purpose.

        Tries every address once, the last good one first. Raises BrokerError.
        """
        errors: list[BrokerError] = []
        for _ in self._addresses:
            try:
                self._warn_of_clear_text()
                with self.errors():
                    return Session(self._parameters(purpose))
            except BrokerError as error:
                errors.append(error)
            self._current = (self._current + 1) % len(self._addresses)
        # The error of one that refuses helps more: that others are away is why there are several.
        raise next((error for error in errors if isinstance(error, BrokerRefused)), errors[0])

    def tls_context(self) -> ssl.SSLContext:
        """What both AMQP and the management API are checked by."""
        try:
            context = ssl.create_default_context(cafile=self._tls_ca or None)
        except (OSError, ssl.SSLError) as error:
            text = error.strerror or "it is no certificate"
            raise BrokerRefused(f"{self.name}: {self._tls_ca}: {text}. Check [queue] tls_ca") from error
        if not self._tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def no_queue(self, queue: str) -> BrokerRefused:
        """The error for a queue that was not declared."""
        return BrokerRefused(f"{self.name}: there is no {queue}. Make it with: labmon setup-queues")

    def grant(self, role: Role, queue: str = "") -> str:
        """The command that gives this account what it needs for the role."""
        return permissions.grant(role, self.user, self.vhost, self._queues or [queue] * bool(queue))

    @contextmanager
    def errors(self, queue: str = "", role: Role = Role.work) -> Iterator[None]:
        """The driver's errors as BrokerUnavailable and BrokerRefused. They name the queue, and what to grant
        for the role."""
        try:
            yield
        except (AMQPError, AMQPConnectorException, OSError) as error:
            raise self.translated(error, queue, role) from error

    def translated(self, error: BaseException, queue: str = "", role: Role = Role.work) -> BrokerError:
        """One line that names the server and the next step."""
        error = _root(error)
        code, text = _reply(error)
        if code:
            return self._replied(code, text, queue, role)
        match error:
            case ConnectionBlockedTimeout():
                step = "It is short of memory or disk; see: rabbitmqctl status"
                return BrokerUnavailable(f"{self.name} takes no messages. {step}")
            case ConsumerCancelled():
                return BrokerUnavailable(f"{self.name} delivers no more from {queue}. Was it deleted?")
            case ssl.SSLCertVerificationError():
                said = f"its certificate is not trusted: {error.verify_message}"
                return BrokerRefused(f"{self.name}: {said}. Check [queue] tls_ca")
            case ssl.SSLError():
                said = (error.reason or str(error)).replace("_", " ").lower()
                return BrokerRefused(f"{self.name}: no TLS: {said}. Check [queue] port and tls")
            case IncompatibleProtocolError():
                said = "closed the connection at once. Is it an AMQP port, and without TLS?"
                return BrokerUnavailable(f"{self.name} {said}")
            case (
                AMQPHeartbeatTimeout()
                | AMQPConnectorStackTimeout()
                | ConnectionOpenAborted()
                | TimeoutError()
            ):
                said = "does not answer"
            case StreamLostError():
                said = "has gone away"
            case OSError() if error.strerror:
                said = f"cannot be reached: {error.strerror.lower()}"
            case _:
                said = f"failed: {' '.join(str(error).split()) or type(error).__name__}"
        return BrokerUnavailable(f"{self.name} {said}. Is the server running?")

    def _replied(self, code: int, text: str, queue: str, role: Role) -> BrokerError:
        """The error for an AMQP reply code and its text."""
        said = text.split(" - ", 1)[-1].strip() or str(code)
        match code:
            case 404 | 530 if re.search(r"is down|limit\b", said):  # of a node, a virtual host, a user
                return BrokerUnavailable(f"{self.name}: {said}")
            case 403 | 405 if "exclusive" in said:
                return BrokerUnavailable(f"{self.name}: {said}. Who else consumes it?")
            case 403 if re.search(r"login (was )?refused", said, re.IGNORECASE):
                guest = "guest may log in from the server itself only; " if self.user == "guest" else ""
                step = f"{guest}check [queue] user and password"
                return BrokerRefused(f"{self.name} refused the login of {self.user}: {step}")
            case 403 | 530 if "refused for user" in said:
                return BrokerForbidden(f"{self.name}: {said}. Grant it with: {self.grant(role, queue)}")
            case 404 if queue:
                return self.no_queue(queue)
            case 404:
                return BrokerRefused(f"{self.name}: {said}. Make it with: labmon setup-queues")
            case 406 if found := re.search(r"inequivalent arg '(\S+)' for (\w+) '(.+?)' in", said):
                argument, kind, name = found.groups()
                values = said.split(": ", 1)[-1]
                return BrokerRefused(
                    f"{self.name}: the {kind} {name} is there with another {argument} ({values}). Delete it "
                    "once nothing needs it, or choose another name in [queue]; then: labmon setup-queues"
                )
            case 406 if "larger than" in said:
                return BrokerRefused(f"{self.name}: {said}")
            case 402 | 403 | 405 | 530:
                return BrokerRefused(f"{self.name}: {said}. Check [queue] vhost and user")
        return BrokerUnavailable(f"{self.name}: {said}")

    def _warn_of_clear_text(self) -> None:
        if not self._tls:
            cleartext.warn(self.name, self._addresses[self._current][0], "Set [queue] tls = true")

    def _parameters(self, purpose: str) -> ConnectionParameters:
        host, port = self._addresses[self._current]
        return ConnectionParameters(
            host=host,
            port=port,
            virtual_host=self.vhost,
            credentials=PlainCredentials(self.user, self.password),
            ssl_options=SSLOptions(self.tls_context(), host) if self._tls else None,
            heartbeat=self._heartbeat,
            blocked_connection_timeout=self._blocked_timeout,
            socket_timeout=CONNECT_TIMEOUT,
            stack_timeout=2 * CONNECT_TIMEOUT,
            connection_attempts=1,
            client_properties={"connection_name": f"labmon {purpose}"},
        )


def _address(text: str, port: int) -> tuple[str, int]:
    """Of "host", "host:5673", "[::1]:5673" or "::1"."""
    found = re.fullmatch(r"(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?", text)
    return (found[1] or found[2], int(found[3] or port)) if found else (text, port)


def _root(error: BaseException) -> BaseException:
    """The error inside pika's wrappers."""
    for _ in range(10):
        match error:
            case AMQPConnectionWorkflowFailed() if error.exceptions:
                error = error.exceptions[-1]
            case AMQPConnectorPhaseErrorBase():
                error = error.exception
            case AMQPConnectionError() if error.args and isinstance(error.args[0], Exception):
                error = error.args[0]
            case _:
                break
    return error


def _reply(error: BaseException) -> tuple[int, str]:
    """The reply code and text by which the server closed a channel or connection; 0 if it did not."""
    if isinstance(error, ChannelClosed | ConnectionClosed):
        return int(error.reply_code), str(error.reply_text)
    # While connecting pika guesses the cause by the stage, and keeps the server's reply only in a text.
    found = re.search(r"ByBroker: \((\d+)\) (['\"])(.*)\2", str(error))
    return (int(found[1]), found[3]) if found else (0, "")
