"""Who logs in to the machines, and with what."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from getpass import getuser
from pathlib import Path
from typing import Any, Self

from labmon.config import Collect
from labmon.errors import ConfigError

logger = logging.getLogger(__name__)

USUAL_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
"""The files in ~/.ssh that `ssh` itself would try."""

Key = Any
"""A private key as `labmon.collect.ssh` reads it."""


@dataclass(frozen=True)
class Login:
    """An account, the keys in the order in which they are tried, and then the password.

    Its repr shows neither keys nor password.
    """

    user: str
    keys: tuple[tuple[str, Key], ...] = field(repr=False)  #: (where it came from, key)
    password: str | None = field(repr=False)

    @classmethod
    def load(cls, settings: Collect) -> Self:
        """Read the key files, else the agent and the usual files; and the password file.

        Raises ConfigError naming the file that cannot be used, or saying that there is nothing to use.
        """
        from labmon.collect.ssh import agent_keys, read_key

        if settings.key_files:
            keys = [(name, read_key(Path(name).expanduser())) for name in settings.key_files]
        else:
            keys = [*agent_keys(), *_usual_keys()]
        password = None
        if settings.password_file:
            password = _read_password(Path(settings.password_file).expanduser())
        if not keys and password is None:
            raise ConfigError(
                "[collect] there is nothing to log in with: no SSH agent, no usable ~/.ssh/id_*. "
                "Make a key with ssh-keygen, or set key_files or password_file"
            )
        return cls(settings.user or _own_name(), tuple(keys), password)


def _usual_keys() -> Iterator[tuple[str, Key]]:
    from labmon.collect.ssh import read_key

    for name in USUAL_KEYS:
        path = Path.home() / ".ssh" / name
        if path.exists():
            try:
                yield f"~/.ssh/{name}", read_key(path)
            except ConfigError as error:
                logger.info("not used: %s", error)


def _own_name() -> str:
    try:
        return getuser()
    except (KeyError, OSError) as error:
        raise ConfigError("[collect] user is empty, and the account that runs labmon has no name") from error


def _read_password(path: Path) -> str:
    """The first line. Raises ConfigError."""
    try:
        with path.open(encoding="utf-8") as file:
            password = file.readline().rstrip("\r\n")
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise ConfigError(f"{path}: [collect] password_file cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: [collect] password_file is not text") from error
    if not password:
        raise ConfigError(f"{path}: [collect] password_file: its first line is empty")
    if mode & 0o077:
        logger.warning("others can read the password in %s. Mend it with: chmod 600 %s", path, path)
    return password
