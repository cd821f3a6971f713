"""How each machine is reached: settings, ssh_config, keys, host keys and bastions, read once for a run."""

import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from labmon.collect.bastion import Bastion, Way, resolved
from labmon.collect.hostkeys import HostKeys, Machine
from labmon.collect.login import Logins
from labmon.collect.ssh_config import Options, SshConfig
from labmon.config import Collect
from labmon.errors import ConfigError

if TYPE_CHECKING:
    from labmon.collect.ssh import Session

USUAL_PORT = 22

MAX_HOPS = 8
"""Bastions one after another, as in OpenSSH."""

_HOP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@\s]+)@)?(?P<host>\[[^\]\s]+\]|[^:\s@\[\]]+)(?::(?P<port>\d{1,5}))?/?"
)


class _Target(Protocol):
    """A machine as the runner knows it."""

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


class Access:
    """Opens sessions to machines. Close it when they are done: that ends the bastions' connections."""

    def __init__(self, settings: Collect, ssh_config: SshConfig, logins: Logins, host_keys: HostKeys) -> None:
        self._settings = settings
        self._ssh_config = ssh_config
        self._logins = logins
        self._host_keys = host_keys
        self._jumps = _hops(settings.proxy_jump, "[collect] proxy_jump")
        self._bastions: dict[tuple[str, ...], Bastion] = {}
        self._lock = threading.Lock()

    @classmethod
    def load(cls, settings: Collect, state_dir: Path) -> Self:
        """Read keys, passwords and files; no machine is contacted. Raises ConfigError or PermissionNeeded
        with the file that cannot be used."""
        ssh_config = load_ssh_config(settings)
        logins = Logins.load(settings, more_keys=ssh_config.names_keys)
        files = [Path(name).expanduser() for name in settings.known_hosts]
        return cls(settings, ssh_config, logins, HostKeys(state_dir, settings.host_keys, files))

    def session(self, target: _Target) -> "Session":
        """A session with the machine, not opened yet. What is the matter is said by its `open`."""
        from labmon.collect.ssh import Session

        return Session(target.address, lambda: self._way(target), self._host_keys)

    def close(self) -> None:
        """End the bastions' connections, and with them what goes through them. Repeatable."""
        with self._lock:
            bastions = list(self._bastions.values())
        for bastion in reversed(bastions):
            bastion.close()
        self._host_keys.close()

    def _way(self, target: _Target) -> Way:
        user = self._settings.user
        options = self._ssh_config.options(target.address, target.name, user=user)
        port = target.port if target.port != USUAL_PORT else options.port or USUAL_PORT
        machine = Machine.of(
            target.address,
            port,
            target.name,
            options.host_key_alias,
            system_id=target.system_id,
            inventory=target.inventory,
        )
        through = self._through(self._jumps or self._jumps_of(options))
        return Way(target.address, port, machine, self._logins.of(options), through)

    def _jumps_of(self, options: Options) -> tuple[str, ...]:
        """The bastions that the ssh_config has for a machine."""
        if options.proxy_command:
            raise ConfigError(
                f"{self._settings.ssh_config}: ProxyCommand is never run. "
                "Write it as ProxyJump, or set [collect] proxy_jump"
            )
        return _hops(options.proxy_jump or "none", f"{self._settings.ssh_config}: ProxyJump")

    def _through(self, hops: Sequence[str], depth: int = 0) -> Bastion | None:
        """The last of these bastions, which goes through the ones before it."""
        if not hops:
            return None
        if depth > MAX_HOPS:
            raise ConfigError(f"{self._settings.ssh_config}: ProxyJump: {hops[0]} goes through itself")
        *before, last = hops
        user, host, port = _parts(last)
        options = self._ssh_config.options(host, user=user or "")
        # The first may itself be behind others, as the ssh_config has it; but `Host *` means everyone else.
        previous = before or [hop for hop in self._jumps_of(options) if _parts(hop)[1] != host]
        through = self._through(previous, depth + 1)
        key = (*(() if through is None else (through.name,)), *hops)
        with self._lock:
            if key not in self._bastions:
                self._bastions[key] = Bastion(
                    last,
                    lambda: self._way_to(host, port, user, options, through),
                    self._host_keys,
                    self._settings.deadline / 2,
                )
            return self._bastions[key]

    def _way_to(
        self, host: str, port: int | None, user: str | None, options: Options, through: Bastion | None
    ) -> Way:
        """To a bastion. It gets no password, which is for the machines; they get theirs past it."""
        name = options.hostname or host
        port = port or options.port or USUAL_PORT
        return Way(
            name if through is not None else resolved(name),
            port,
            Machine.of(name, port, host, options.host_key_alias),
            self._logins.of(options, user=user or options.user, password=False),
            through,
        )


def is_direct(settings: Collect, options: Options) -> bool:
    """False for a machine that is behind a bastion."""
    return not _hops(settings.proxy_jump or options.proxy_jump or "none", "ProxyJump")


def load_ssh_config(settings: Collect) -> SshConfig:
    """The user's file; nothing where it does not exist or is not wanted. Raises ConfigError."""
    if not settings.ssh_config:
        return SshConfig()
    path = Path(settings.ssh_config).expanduser()
    if settings.ssh_config == Collect().ssh_config and not path.exists():
        return SshConfig()
    return SshConfig.load(path)


def _hops(text: str, where: str) -> tuple[str, ...]:
    """The bastions of a `ProxyJump`, checked: [user@]host[:port], separated by commas; none is nobody."""
    if text.strip().lower() in ("", "none"):
        return ()
    hops = tuple(hop.strip() for hop in text.split(","))
    for hop in hops:
        parsed = _HOP.fullmatch(hop)
        if parsed is None or not 1 <= int(parsed["port"] or USUAL_PORT) <= 65535:
            raise ConfigError(f"{where}: {hop!r} is not [user@]host[:port]")
    return hops


def _parts(hop: str) -> tuple[str | None, str, int | None]:
    parsed = _HOP.fullmatch(hop)
    assert parsed is not None, "_hops has checked it"
    host = parsed["host"].strip("[]")
    with suppress(ValueError):
        host = str(ip_address(host))
    return parsed["user"], host, int(parsed["port"]) if parsed["port"] else None
