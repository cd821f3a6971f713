"""How each machine is reached: settings, ssh_config, keys, host keys and bastions, read once for a run."""

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from labmon.collect.failures import HostFailed
from labmon.collect.hostkeys.policy import HostIdentity, HostKeys
from labmon.collect.ssh.bastion import Bastion, resolved
from labmon.collect.ssh.config import HostOptions, SshConfig
from labmon.collect.ssh.jump import Hop, parse_hops
from labmon.collect.ssh.login import Logins
from labmon.collect.ssh.networks import AllowedNetworks
from labmon.collect.ssh.plan import ConnectionPlan
from labmon.config.tables import CollectConfig
from labmon.errors import ConfigError

if TYPE_CHECKING:
    from labmon.collect.ssh.session import Session

USUAL_PORT = 22

MAX_HOPS = 8
"""Bastions one after another, as in OpenSSH."""


class _Target(Protocol):
    """A machine to measure; `labmon.collect.result` has the class."""

    @property
    def address(self) -> str: ...

    @property
    def port(self) -> int: ...

    @property
    def system_id(self) -> int | None: ...

    @property
    def name(self) -> str | None: ...

    @property
    def inventory(self) -> str: ...

    @property
    def user(self) -> str | None: ...

    @property
    def key_file(self) -> str | None: ...


class Connector:
    """Opens sessions to machines. Close it when they are done: that ends the bastions' connections."""

    def __init__(
        self, settings: CollectConfig, ssh_config: SshConfig, logins: Logins, host_keys: HostKeys
    ) -> None:
        self._settings = settings
        self._ssh_config = ssh_config
        self._logins = logins
        self._host_keys = host_keys
        self._networks = AllowedNetworks(settings.allow)
        self._hops = parse_hops(settings.proxy_jump, "[collect] proxy_jump")
        self._bastions: dict[tuple[str, ...], Bastion] = {}
        self._lock = threading.Lock()
        self._read = _versions([*ssh_config.files, *logins.files])

    @classmethod
    def load(cls, settings: CollectConfig, state_dir: Path) -> Self:
        """Read keys, passwords and files; no machine is contacted. Raises ConfigError or PermissionNeeded
        with the file that cannot be used."""
        ssh_config = load_ssh_config(settings)
        logins = Logins.load(settings, more_keys=ssh_config.names_keys)
        AllowedNetworks(settings.allow)
        files = [Path(name).expanduser() for name in settings.known_hosts]
        return cls(settings, ssh_config, logins, HostKeys(state_dir, settings.host_keys, files))

    def session(self, target: _Target) -> "Session":
        """A session with the machine, not opened yet. Only its `open` says what is wrong."""
        from labmon.collect.ssh.session import Session

        return Session(target.address, lambda: self.plan(target), self._host_keys)

    def fingerprint(self, target: _Target) -> str:
        """See `ConnectionPlan.fingerprint`; "" where there is no plan, which `open` reports."""
        try:
            return self.plan(target).fingerprint(self._host_keys)
        except (ConfigError, HostFailed):
            return ""

    def other_account(self, target: _Target) -> str | None:
        """The account that let labmon in the last time, where another one is used now."""
        try:
            plan = self.plan(target)
            account = self._host_keys.account(plan.machine)
        except (ConfigError, HostFailed):
            return None
        return account if account != plan.login.user else None

    def changed_files(self) -> "dict[Path, FileVersion]":
        """The key files, password files and ssh_config files that are others now than when they were read."""
        return {path: now for path, now in _versions(self._read).items() if now != self._read[path]}

    def close(self) -> None:
        """End the bastions' connections, and the sessions that go through them. Repeatable."""
        with self._lock:
            bastions = list(self._bastions.values())
        for bastion in reversed(bastions):
            bastion.close()
        self._host_keys.close()

    def plan(self, target: _Target) -> ConnectionPlan:
        """How the machine is reached; nothing is contacted. Raises ConfigError for a wrong ssh_config, and
        `HostFailed` when the host keys cannot be read."""
        user = target.user or self._settings.user
        options = self._ssh_config.options(target.address, target.name, user=user)
        port = target.port if target.port != USUAL_PORT else options.port or USUAL_PORT
        machine = HostIdentity.of(
            target.address,
            port,
            target.name,
            alias=options.host_key_alias,
            system_id=target.system_id,
            inventory=target.inventory,
        )
        named = user or options.user
        remembered = None if named else self._host_keys.account(machine)
        return ConnectionPlan(
            target.address,
            port,
            machine,
            self._logins.of(options, user=target.user, remembered=remembered, key_file=target.key_file),
            self._networks,
            self._bastion(self._hops or self._hops_of(options)),
        )

    def _hops_of(self, options: HostOptions) -> tuple[Hop, ...]:
        """The bastions that the ssh_config has for a machine."""
        if options.proxy_command:
            raise ConfigError(
                f"{self._settings.ssh_config}: ProxyCommand is never run. "
                "Write it as ProxyJump, or set [collect] proxy_jump"
            )
        return parse_hops(options.proxy_jump or "none", f"{self._settings.ssh_config}: ProxyJump")

    def _bastion(self, hops: Sequence[Hop], depth: int = 0) -> Bastion | None:
        """The last of these bastions, which is reached through the ones before it."""
        if not hops:
            return None
        if depth > MAX_HOPS:
            raise ConfigError(f"{self._settings.ssh_config}: ProxyJump: {hops[0]} goes through itself")
        *before, last = hops
        options = self._ssh_config.options(last.host, user=last.user or "")
        # The first may itself be behind others, by the ssh_config; but `Host *` means all other machines.
        previous = before or [hop for hop in self._hops_of(options) if hop.host != last.host]
        through = self._bastion(previous, depth + 1)
        key = (*(() if through is None else (through.name,)), *map(str, hops))
        with self._lock:
            if key not in self._bastions:
                self._bastions[key] = Bastion(
                    str(last),
                    lambda look_up: self._bastion_plan(last, options, through, look_up),
                    self._host_keys,
                    self._settings.deadline / 2,
                )
            return self._bastions[key]

    def _bastion_plan(
        self, hop: Hop, options: HostOptions, through: Bastion | None, look_up: bool
    ) -> ConnectionPlan:
        """A bastion gets no password, which is for the machines; they get theirs through it."""
        name = options.hostname or hop.host
        port = hop.port or options.port or USUAL_PORT
        return ConnectionPlan(
            resolved(name) if look_up and through is None else name,
            port,
            HostIdentity.of(name, port, hop.host, alias=options.host_key_alias),
            self._logins.of(options, user=hop.user or options.user, password=False),
            self._networks,
            through,
        )


FileVersion = tuple[int, ...]
"""What tells a file from the one that was there before; () where there is none."""


def _versions(files: Iterable[Path]) -> dict[Path, FileVersion]:
    versions: dict[Path, FileVersion] = {}
    for path in files:
        try:
            now = path.stat()
        except (OSError, ValueError):
            versions[path] = ()
        else:
            versions[path] = (now.st_ino, now.st_size, now.st_mtime_ns)
    return versions


def is_direct(settings: CollectConfig, options: HostOptions) -> bool:
    """False for a machine that is behind a bastion."""
    return not parse_hops(settings.proxy_jump or options.proxy_jump or "none", "ProxyJump")


def load_ssh_config(settings: CollectConfig) -> SshConfig:
    """The user's file; nothing where it does not exist or is not wanted. Raises ConfigError."""
    if not settings.ssh_config:
        return SshConfig()
    path = Path(settings.ssh_config).expanduser()
    if settings.ssh_config == CollectConfig().ssh_config and not path.exists():
        return SshConfig()
    return SshConfig.load(path)
