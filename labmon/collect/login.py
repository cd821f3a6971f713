"""Who logs in to the machines, and with what."""

import base64
import binascii
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from getpass import getuser
from pathlib import Path
from typing import Any, Self

from labmon.collect.ssh_config import Options
from labmon.config import Collect
from labmon.errors import ConfigError

logger = logging.getLogger(__name__)

USUAL_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
"""The files in ~/.ssh that `ssh` itself would try."""

Key = Any
"""A private key as `labmon.collect.ssh_keys` reads it."""

Keys = tuple[tuple[str, Key], ...]
"""(where it came from, key)"""


@dataclass(frozen=True)
class Login:
    """An account, the keys in the order in which they are tried, and then the password.

    Its repr shows neither keys nor password.
    """

    user: str
    keys: Keys = field(repr=False)
    password: str | None = field(repr=False)


class Logins:
    """Everything there is to log in with, read once, and what of it each machine is offered."""

    def __init__(self, user: str, keys: Keys, agent: Keys, password: str | None, passphrase: str) -> None:
        self.user = user  #: of the settings; "" when they leave it open
        self.password = password
        self._keys = keys
        self._agent = agent
        self._passphrase = passphrase
        self._only_these = False
        self._files: dict[str, Key | None] = {}
        self._lock = threading.Lock()

    @classmethod
    def load(cls, settings: Collect, *, more_keys: bool = False) -> Self:
        """Read the key files, else the agent and the usual files; and the password.

        `more_keys`: some machines have keys of their own (see `of`). Raises ConfigError naming the file that
        cannot be used, or saying that there is nothing to use.
        """
        from labmon.collect.ssh_keys import agent_keys, read_key

        passphrase = settings.key_passphrase or _secret(settings, "key_passphrase_file") or ""
        password = settings.password or _secret(settings, "password_file") or None
        agent: Keys = ()
        if settings.key_files:
            keys = tuple((name, read_key(Path(name).expanduser(), passphrase)) for name in settings.key_files)
        else:
            agent = tuple(agent_keys())
            keys = tuple(_usual_keys(passphrase))
        if not (keys or agent or password or more_keys):
            raise ConfigError(
                "[collect] there is nothing to log in with: no SSH agent, no usable ~/.ssh/id_*. "
                "Make a key with ssh-keygen, or set key_files or password_file"
            )
        logins = cls(settings.user, keys, agent, password, passphrase)
        logins._only_these = bool(settings.key_files)
        return logins

    def of(self, options: Options, *, user: str | None = None, password: bool = True) -> Login:
        """What a machine is offered: the settings' keys if they name any, else those of the ssh_config for
        it and then the agent's and the usual ones.

        `user` wins over the settings' and the ssh_config's. Raises ConfigError when there is no name at all.
        """
        keys = self._keys
        if not self._only_these:
            own = tuple(self._identities(options.identity_files))
            rest = () if options.identities_only and own else (*self._agent, *self._keys)
            keys = own + tuple(one for one in rest if one[1] not in [key for _, key in own])
        name = user or self.user or options.user or _own_name()
        return Login(name, keys, self.password if password else None)

    def _identities(self, files: Sequence[str]) -> Iterator[tuple[str, Key]]:
        for file in files:
            with self._lock:
                if file not in self._files:
                    self._files[file] = self._identity(Path(file))
                key = self._files[file]
            if key is not None:
                yield file, key

    def _identity(self, path: Path) -> Key | None:
        """The agent's key of that name, which needs no passphrase, else the file's."""
        from labmon.collect.ssh_keys import read_key

        public = _public_half(path)
        for _, key in self._agent:
            if key.asbytes() == public:
                return key
        try:
            return read_key(path, self._passphrase)
        except ConfigError as error:
            logger.info("not used: %s", error)
            return None


def _public_half(path: Path) -> bytes:
    """The key in FILE.pub, or in FILE where that is a public one; b"" where there is none."""
    for file in (path.with_name(path.name + ".pub"), path):
        try:
            return base64.b64decode(file.read_text().split()[1])
        except (OSError, ValueError, IndexError, binascii.Error):
            continue
    return b""


def _usual_keys(passphrase: str) -> Iterator[tuple[str, Key]]:
    from labmon.collect.ssh_keys import read_key

    for name in USUAL_KEYS:
        path = Path.home() / ".ssh" / name
        if path.exists():
            try:
                yield f"~/.ssh/{name}", read_key(path, passphrase)
            except ConfigError as error:
                logger.info("not used: %s", error)


def _own_name() -> str:
    try:
        return getuser()
    except (KeyError, OSError) as error:
        raise ConfigError("[collect] user is empty, and the account that runs labmon has no name") from error


def _secret(settings: Collect, name: str) -> str:
    """The first line of the file that this setting names; "" if it names none. Raises ConfigError."""
    if not getattr(settings, name):
        return ""
    path = Path(getattr(settings, name)).expanduser()
    try:
        with path.open(encoding="utf-8") as file:
            secret = file.readline().rstrip("\r\n")
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise ConfigError(f"{path}: [collect] {name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: [collect] {name} is not text") from error
    if not secret:
        raise ConfigError(f"{path}: [collect] {name}: its first line is empty")
    if mode & 0o077:
        what = name.removesuffix("_file").removeprefix("key_")
        logger.warning("others can read the %s in %s. Mend it with: chmod 600 %s", what, path, path)
    return secret
