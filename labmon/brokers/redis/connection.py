"""Connections to a Redis server, what its errors mean, and what it may lose by the way it is set up."""

import logging
import re
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterCrossSlotError,
    ClusterDownError,
    ConnectionError,
    ExecAbortError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)
from redis.retry import Retry

from labmon import cleartext
from labmon.brokers.redis import permissions
from labmon.brokers.redis.permissions import Role
from labmon.config.tables import QueueConfig
from labmon.errors import BrokerForbidden, BrokerRefused, BrokerUnavailable

logger = logging.getLogger(__name__)

Command = tuple[Any, ...]

TIMEOUT = 10.0
"""Seconds that a reply may take. Blocking reads ask the server to wait for much less."""

STALE = 1.0
"""Seconds without use after which a connection is looked at before it is used again: the server may have
been restarted, or have closed what was idle for too long."""

_AWAY = (OutOfMemoryError, ReadOnlyError, BusyLoadingError, ClusterDownError, TryAgainError, TimeoutError)
_AWAY_CODES = re.compile(r"^(MISCONF|NOREPLICAS|BUSY|UNBLOCKED|OOM|READONLY|LOADING|MASTERDOWN)\b")
_FORBIDDEN = re.compile(r"^NOPERM|no permissions|user executing the script can't|ACL failure")
_FULL_STREAM = re.compile(r"exhausted the last possible ID|ID specified in XADD is equal or smaller")
_NO_QUEUE = re.compile(r"^NOGROUP|^ERR no such key|requires the key to exist|^no such key")


class RedisEndpoint:
    """Where the queues are: makes connections, and says in one line what went wrong with them."""

    def __init__(
        self,
        host: str = "localhost",
        port: int = 6379,
        *,
        user: str = "",
        password: str = "",
        database: int = 0,
        tls: bool = False,
        tls_ca: str = "",
        tls_verify: bool = True,
    ) -> None:
        """`host` may be the path of a socket."""
        self.name = f"Redis at {host}" if host.startswith("/") else f"Redis at {host}:{port}"
        self.database = database
        self._user = user or "default"
        self._host = host
        self._sends_password = bool(password) and not tls
        self._tls = tls
        self._tls_ca = tls_ca if tls else ""
        self._kind: type[redis.Connection | redis.UnixDomainSocketConnection] = redis.Connection
        self._settings: dict[str, Any] = {
            "db": database,
            "username": user or None,
            "password": password or None,
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
            # What redis-py sends again after a lost reply is done twice: a message added, a batch delivered.
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
        }
        if host.startswith("/"):
            self._kind = redis.UnixDomainSocketConnection
            self._settings["path"] = host
            return
        self._settings |= {"host": host, "port": port, "socket_keepalive": True}
        if tls:
            self._kind = redis.SSLConnection
            self._settings |= {
                "ssl_cert_reqs": "required" if tls_verify else "none",
                "ssl_check_hostname": tls_verify,
                "ssl_ca_certs": tls_ca or None,
            }

    @classmethod
    def of(cls, settings: QueueConfig) -> Self:
        """The server that `[queue]` names. Raises BrokerRefused for a database that is no number."""
        if not (settings.database or "0").isdecimal():
            raise BrokerRefused(
                f"[queue] database: Redis has numbers, not {settings.database!r}. Leave it empty"
            )
        return cls(
            settings.host or "localhost",
            settings.port or 6379,
            user=settings.user,
            password=settings.password,
            database=int(settings.database or 0),
            tls=settings.tls,
            tls_ca=settings.tls_ca,
            tls_verify=settings.tls_verify,
        )

    def connect(self, client_name: str) -> "RedisConnection":
        """A new connection, which `CLIENT LIST` shows by this name. Use it within `errors`."""
        if self._tls_ca and not Path(self._tls_ca).is_file():
            raise BrokerRefused(f"{self.name}: there is no CA file {self._tls_ca}. Check [queue] tls_ca")
        connection: Any = self._kind(**self._settings, client_name=client_name)
        self._warn_of_clear_text()
        connection.connect()
        return RedisConnection(connection)

    def _warn_of_clear_text(self) -> None:
        if self._sends_password:
            cleartext.warn(self.name, self._host, "Set [queue] tls = true")

    @contextmanager
    def errors(self, queue: str) -> Iterator[None]:
        """The driver's errors as BrokerUnavailable and BrokerRefused."""
        try:
            yield
        except RedisError as error:
            raise self._translated(error, queue) from error
        except UnicodeEncodeError as error:
            raise BrokerRefused(f"{self.name}: an id or routing key is no text: {error.reason}") from error

    def no_queue(self, queue: str) -> BrokerRefused:
        """The error for a queue that was not declared."""
        return BrokerRefused(f"{self.name}: there is no {queue}. Make it with: labmon setup-queues")

    def in_the_way(self, queue: str, key: str, kind: str) -> BrokerRefused:
        """The error for a key that holds something else than a queue."""
        return BrokerRefused(
            f"{self.name}: the key {key} holds {kind}, not labmon's messages. Move it out of the way with: "
            f"redis-cli RENAME {key} {key}.old; then make {queue} with: labmon setup-queues"
        )

    def _forbidden(self, said: str, queue: str) -> BrokerForbidden:
        """Inside a script Redis does not say which command it was."""
        if named := re.search(r"'([a-z|]+)' command", said):
            missing = [f"+{named[1]}"]
        elif re.search(r"\bkeys?\b", said):
            missing = permissions.keys([queue])
        else:
            missing = permissions.rules(Role.work, [queue])
        step = permissions.grant(self._user, missing)
        return BrokerForbidden(f"{self.name}: {said}. Grant it with: {step}")

    def _full_stream(self, queue: str) -> BrokerRefused:
        return BrokerRefused(
            f"{self.name}: {queue}, {queue}.high or {queue}.dead has an entry with the highest possible id, "
            "behind which nothing can be added (redis-cli XINFO STREAM KEY shows it). When that stream is "
            "empty: redis-cli DEL KEY; labmon setup-queues"
        )

    def _translated(self, error: RedisError, queue: str) -> BrokerRefused | BrokerUnavailable:
        said = _one_line(error)
        text = f"{self.name}: {said}"
        match error:
            case AuthenticationError() if said.startswith("Authentication required"):
                return BrokerRefused(f"{text}. Set [queue] user and password")
            case AuthenticationError():
                return BrokerRefused(f"{text}. Check [queue] user and password")
            case NoPermissionError() | AuthorizationError():
                return self._forbidden(said, queue)
            case MovedError() | ClusterCrossSlotError():
                return BrokerRefused(
                    f"{self.name}: a Redis Cluster cannot hold the queues. Use a single server"
                )
            case OutOfMemoryError():
                return BrokerUnavailable(f"{text}. Start workers to empty the queues, or raise its maxmemory")
            case ReadOnlyError():
                return BrokerUnavailable(f"{text}. It is a replica: name the primary in [queue] host")
            case BusyLoadingError():
                return BrokerUnavailable(f"{text}. It will be ready soon")
            case ConnectionError() if (problem := _tls_problem(error)) is not None:
                return BrokerRefused(f"{self.name}: {problem}. Check [queue] tls and tls_ca")
            case TimeoutError() if self._tls:
                return BrokerUnavailable(
                    f"{text}. Is the server running, and does it speak TLS on this port?"
                )
            case ConnectionError() if re.search("closed by server|reset by peer", said) and not self._tls:
                return BrokerUnavailable(f"{text}. Was it stopped, or does it want [queue] tls?")
            case ConnectionError() | TimeoutError():
                return BrokerUnavailable(f"{text}. Is the server running?")
        if said.startswith("NOREPLICAS"):
            return BrokerUnavailable(
                f"{text}. Start its replicas, or lower min-replicas-to-write: redis-cli INFO replication"
            )
        if said.startswith("MISCONF"):
            return BrokerUnavailable(
                f"{text}. Until it can save to its disk, it takes none: make room, or mend permissions"
            )
        if isinstance(error, _AWAY) or _AWAY_CODES.search(said):
            return BrokerUnavailable(f"{text}. Look at the server's log")
        if _FORBIDDEN.search(said):
            return self._forbidden(said, queue)
        if _FULL_STREAM.search(said):
            return self._full_stream(queue)
        if _NO_QUEUE.search(said):
            return self.no_queue(queue)
        if said.startswith("WRONGTYPE"):
            return self.in_the_way(queue, queue, "a list or something else")
        return BrokerRefused(f"{text}. labmon needs Redis 6.2 or later, and no Redis Cluster")


class RedisConnection:
    """One connection. Raises the driver's errors; a lost connection stays lost."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._is_open = True
        self._used = time.monotonic()

    def call(self, *command: Any) -> Any:
        """One command's reply."""
        return self.calls([command])[0]

    def calls(self, commands: Sequence[Command]) -> list[Any]:
        """Their replies, from one round trip. Raises the first error, after all were carried out."""
        replies = self._exchange(commands)
        for reply in replies:
            if isinstance(reply, Exception):
                raise reply
        return replies

    def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Their replies, None for each that the server refuses to answer."""
        return [None if isinstance(one, Exception) else one for one in self._exchange(commands)]

    def transaction(self, commands: Sequence[Command]) -> list[Any]:
        """Their replies. All are carried out, at one moment and with one fsync, or none of them is."""
        *queued, replies = self._exchange([("MULTI",), *commands, ("EXEC",)])
        if isinstance(replies, ExecAbortError):
            replies = [one for one in queued if isinstance(one, Exception)] or [replies]
        for reply in replies if isinstance(replies, list) else [replies]:
            if isinstance(reply, Exception):
                raise reply
        return list(replies)

    def create_group(self, key: str, group: str) -> bool:
        """Make the consumer group, and the stream if need be. False when there was one.

        The group begins at the start: what was added before there was one is delivered too.
        """
        try:
            self.call("XGROUP", "CREATE", key, group, "0", "MKSTREAM")
        except ResponseError as error:
            if str(error).startswith("BUSYGROUP"):
                return False
            raise
        return True

    def is_usable(self) -> bool:
        """False when it is known to be lost. Asks the operating system, not the server."""
        if not self._is_open:
            return False
        if time.monotonic() - self._used < STALE:
            return True
        try:
            return not self._connection.can_read(0)  # nothing was asked, so what comes can only be the end
        except (RedisError, OSError):
            return False

    def close(self) -> None:
        """Never raises."""
        self._is_open = False
        self._connection.disconnect()

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        connection = self._connection
        if not self._is_open:  # or redis-py would connect anew
            raise ConnectionError("The connection was lost")
        try:
            connection.send_packed_command(connection.pack_commands(commands))
            replies = [self._reply() for _ in commands]
        except BaseException:
            self.close()  # An unread reply would be taken for that of the next command.
            raise
        self._used = time.monotonic()
        return replies

    def _reply(self) -> Any:
        try:
            return self._connection.read_response()
        except ResponseError as error:
            return error


def _tls_problem(error: BaseException) -> str | None:
    """What is wrong with the certificates or the protocol, if that is why there is no connection."""
    match error.__context__:
        case ssl.SSLCertVerificationError() as cause:
            return f"its certificate is not accepted: {cause.verify_message}"
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError() | ssl.SSLSyscallError():
            return None
        case ssl.SSLError() as cause:
            return f"there is no TLS with it: {cause.reason}"
    return None


def _one_line(error: RedisError) -> str:
    """The server's or the operating system's text, without the address that redis-py adds."""
    text = " ".join(str(error).split())
    text = re.sub(r"^Error (-?\d+|while) connecting to \S+?\. ", "", text)
    text = re.sub(r"^Error while reading from \S+ ?: \(\d+, '(.*)'\)$", r"\1", text)
    text = re.sub(r" script: [0-9a-f]{40}, on @user_script:\d+\.$", "", text)
    return text.removesuffix(".") or type(error).__name__
