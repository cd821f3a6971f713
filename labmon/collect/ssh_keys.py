"""Private keys, of files and of the SSH agent, and logging in with them."""

import logging
import os
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NoReturn, cast

import paramiko  # type: ignore[import-untyped]

from labmon.collect.deadline import Deadline
from labmon.collect.failures import HostFailed, one_line
from labmon.collect.login import Login
from labmon.errors import ConfigError

logger = logging.getLogger(__name__)


def log_in(transport: paramiko.Transport, login: Login, deadline: Deadline) -> None:
    """Each key, then the password, until the server is content. Raises `HostFailed` when it is not."""
    attempts: list[tuple[str, str, Callable[[], list[str]]]] = [
        (f"key {name}", "publickey", partial(transport.auth_publickey, login.user, key))
        for name, key in login.keys
    ]
    if login.password is not None:
        attempts.append(
            ("the password", "password", partial(transport.auth_password, login.user, login.password))
        )
    refused: list[str] = []
    allowed: list[str] | None = None  # what the server still takes, once it has told
    for what, method, authenticate in attempts:
        if allowed is not None and not {method, _INTERACTIVE.get(method)} & set(allowed):
            continue
        transport.auth_timeout = deadline.left
        try:
            allowed = authenticate() or None
        except paramiko.BadAuthenticationType as error:
            allowed = error.allowed_types
        except paramiko.AuthenticationException:
            if deadline.passed:
                raise TimeoutError from None
            if not transport.is_active():
                if not refused:
                    raise EOFError from None
                _refuse(
                    login, refused, "and hung up: too many keys? Name the right one in [collect] key_files"
                )
            refused.append(what)
        if transport.is_authenticated():
            return
        if not transport.is_active():
            raise EOFError
    _refuse(login, refused, f"and takes only: {', '.join(allowed)}" if allowed else "")


_INTERACTIVE = {"password": "keyboard-interactive"}  # paramiko answers its one question with the password


def _refuse(login: Login, refused: list[str], more: str) -> NoReturn:
    what = f"it refused {', '.join(refused[:2])}" if refused else "it lets nobody in this way"
    what += f" and {len(refused) - 2} more" if len(refused) > 2 else ""
    raise HostFailed("auth failed", one_line(f"as {login.user}: {what} {more}", 300))


def read_key(path: Path, passphrase: str = "") -> paramiko.PKey:
    """A private key file of any usual format; the passphrase is used where it has one.

    Raises ConfigError saying what is the matter with it.
    """
    try:
        return paramiko.PKey.from_path(path)
    except OSError as error:
        raise ConfigError(f"{path}: the key cannot be read: {error.strerror}") from error
    except (paramiko.PasswordRequiredException, TypeError) as error:
        if not passphrase:
            raise ConfigError(
                f"{path}: the key has a passphrase. Load it with ssh-add and leave [collect] key_files "
                "empty, or set key_passphrase_file"
            ) from error
    except Exception as error:  # a file may be wrong in many ways, and paramiko lets most of them through
        said = one_line(str(error) or type(error).__name__, 80)
        raise ConfigError(f"{path}: this is no private key: {said}") from error
    try:
        return paramiko.PKey.from_path(path, passphrase.encode())
    except Exception as error:
        raise ConfigError(f"{path}: its passphrase is another than [collect] key_passphrase") from error


class _AgentKey(paramiko.AgentKey):  # type: ignore[misc]
    """A key of the agent, which is asked over a connection of its own each time: paramiko does not keep apart
    what several sessions ask over one."""

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> bytes:
        with closing(paramiko.Agent()) as agent:
            if not agent.get_keys():
                raise paramiko.SSHException("the SSH agent has gone, or has no keys any more")
            return cast("bytes", paramiko.AgentKey(agent, self.blob).sign_ssh_data(data, algorithm))


def agent_keys() -> list[tuple[str, paramiko.PKey]]:
    """What the SSH agent holds, if there is one: (comment, key)."""
    if not os.path.exists(os.environ.get("SSH_AUTH_SOCK", "")):
        return []
    try:
        with closing(paramiko.Agent()) as agent:
            return [
                (one_line(key.comment, 40) or key.get_name(), _AgentKey(agent, key.blob, key.comment))
                for key in agent.get_keys()
            ]
    except (paramiko.SSHException, OSError) as error:
        logger.warning("the SSH agent does not answer: %s", error)
        return []
