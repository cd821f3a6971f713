"""The account, keys and password for each machine, from the settings, the ssh_config and the agent."""

import base64
import binascii
import logging
import os
import threading
from collections.abc import Iterator
from getpass import getuser
from pathlib import Path
from typing import Self

from labmon.collect.ssh.config import HostOptions
from labmon.collect.ssh.credentials import Key, Keys, Login
from labmon.config.tables import CollectConfig
from labmon.errors import ConfigError
from labmon.files import open_regular
from labmon.text import NotText, decode

logger = logging.getLogger(__name__)

USUAL_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
"""The files in ~/.ssh that `ssh` itself would try."""

MAX_SECRET = 4096
"""Bytes of the line that a password or a passphrase stands in."""


class Logins:
    """All keys and passwords, read once, and which of them each machine is offered."""

    def __init__(
        self, settings: CollectConfig, keys: Keys, agent: Keys, password: str | None, passphrase: str
    ) -> None:
        self.user = settings.user  #: "" when the settings leave it open
        self.password = password
        self._password_to_any = settings.password_to == "any"
        self._only_these = bool(settings.key_files)
        named = [*settings.key_files, settings.password_file, settings.key_passphrase_file]
        self.files = [Path(name).expanduser() for name in named if name]  #: those of the settings
        self._keys = keys
        self._agent = agent
        self._passphrase = passphrase
        self._files: dict[str, Key | str] = {}  # a key, or why there is none
        self._warned: set[tuple[str, ...]] = set()
        self._lock = threading.Lock()

    @classmethod
    def load(cls, settings: CollectConfig, *, more_keys: bool = False) -> Self:
        """Read the key files, else the agent and the usual files; and the password.

        `more_keys`: some machines have keys of their own (see `of`). Raises ConfigError naming the file that
        cannot be used, or saying that there is nothing to use.
        """
        from labmon.collect.ssh.keys import agent_keys, read_key

        passphrase = settings.key_passphrase or read_secret(settings, "key_passphrase_file") or ""
        password = settings.password or read_secret(settings, "password_file") or None
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
        return cls(settings, keys, agent, password, passphrase)

    def of(
        self,
        options: HostOptions,
        *,
        user: str | None = None,
        remembered: str | None = None,
        password: bool = True,
        key_file: str | None = None,
    ) -> Login:
        """What a machine is offered: the settings' keys if they name any, else those of the ssh_config for
        it and then the agent's and the usual ones.

        `user` wins over the settings' account and that of the ssh_config; `remembered`, the account that let
        labmon in before, counts where none of them names one. `key_file` is then the only key. Raises
        ConfigError when there is no name.
        """
        keys = self._keys
        unusable: tuple[str, ...] = ()
        if key_file:
            keys, unusable = self._identities((str(Path(key_file).expanduser()),))
        elif not self._only_these:
            own, unusable = self._identities(options.identity_files)
            rest = () if options.identities_only and own else (*self._agent, *self._keys)
            keys = own + tuple(one for one in rest if one[1] not in [key for _, key in own])
        named = user or self.user or options.user
        return Login(
            named or remembered or _own_name(),
            keys,
            self.password if password else None,
            self._password_to_any,
            is_remembered=not named and bool(remembered),
            unusable=unusable,
        )

    def _identities(self, files: tuple[str, ...]) -> tuple[Keys, tuple[str, ...]]:
        """The keys in these files, and why others cannot be used. Where none can, the log says so once."""
        found: list[tuple[str, Key]] = []
        unusable: list[str] = []
        with self._lock:
            for file in files:
                if file not in self._files:
                    self._files[file] = self._identity(Path(file))
                key = self._files[file]
                if isinstance(key, str):
                    unusable.append(f"IdentityFile {key}")
                else:
                    found.append((file, key))
            if unusable and not found and files not in self._warned:
                self._warned.add(files)
                logger.warning("none of a machine's own keys can be used: %s", "; ".join(unusable))
        return tuple(found), tuple(unusable)

    def _identity(self, path: Path) -> Key | str:
        """The agent's key of that name, which needs no passphrase, else the file's; or why there is none."""
        from labmon.collect.ssh.keys import read_key

        public = _public_half(path)
        for _, key in self._agent:
            if key.asbytes() == public:
                return key
        try:
            return read_key(path, self._passphrase)
        except ConfigError as error:
            return str(error)


def _public_half(path: Path) -> bytes:
    """The key in FILE.pub, or in FILE where that is a public one; b"" where there is none."""
    for file in (path.with_name(path.name + ".pub"), path):
        try:
            return base64.b64decode(file.read_text().split()[1])
        except (OSError, ValueError, IndexError, binascii.Error):
            continue
    return b""


def _usual_keys(passphrase: str) -> Iterator[tuple[str, Key]]:
    from labmon.collect.ssh.keys import read_key

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


def read_secret(settings: CollectConfig, name: str) -> str:
    """The first line of the file that this setting names; "" if it names none. Raises ConfigError."""
    if not getattr(settings, name):
        return ""
    path = Path(getattr(settings, name)).expanduser()
    try:
        with open_regular(path) as file:
            secret = decode(file.readline(MAX_SECRET)).rstrip("\r\n")
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise ConfigError(f"{path}: [collect] {name} cannot be read: {error.strerror}") from error
    except NotText as error:
        raise ConfigError(f"{path}: [collect] {name} is not text: {error}") from error
    if not secret:
        raise ConfigError(f"{path}: [collect] {name}: its first line is empty")
    if mode & 0o077:
        what = name.removesuffix("_file").removeprefix("key_")
        logger.warning("others can read the %s in %s. Mend it with: chmod 600 %s", what, path, path)
    return secret
