"""What ~/.ssh/config says of a machine: how to reach it, and as whom (ssh_config(5)).

Of each keyword the first value counts, and `ssh -G` is the judge of how the file is read. Two things differ
on purpose. Nothing is ever run, so a section under `Match exec` matches no machine; and a machine may be
meant by several names, its address and what the inventory calls it.
"""

import hashlib
import os
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from pwd import getpwuid
from typing import Self

from labmon.collect.patterns import lowered
from labmon.collect.ssh.config_file import MAX_IDENTITY_FILES, Asked, Reader, Section, Setting
from labmon.errors import ConfigError


@dataclass(frozen=True)
class HostOptions:
    """What the file says of one machine; None and empty are "nothing". Tokens (%h, ~, ${HOME}) are filled
    in."""

    hostname: str | None = None
    port: int | None = None
    user: str | None = None
    identity_files: tuple[str, ...] = ()
    identities_only: bool = False
    proxy_jump: str | None = None  #: "none" is an answer too
    proxy_command: str | None = None
    host_key_alias: str | None = None


class SshConfig:
    """A file and what it includes, read once."""

    def __init__(
        self, sections: Sequence[Section] = (), reader: Reader | None = None, path: str = ""
    ) -> None:
        self._sections = sections
        self._wants_final = reader.wants_final if reader else False
        self._path = path
        self.files = tuple(reader.files) if reader else ()  #: the file and what it includes
        self.names_keys = reader is not None and "identityfile" in reader.keywords
        """True when some machine has keys of its own in it."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises ConfigError naming the file and the line, also when others may write to it."""
        reader = Reader()
        return cls(reader.read(path), reader, str(path))

    def options(self, *names: str | None, user: str = "") -> HostOptions:
        """What holds for a machine with these names. Raises ConfigError for a token that has no meaning.

        The first name is the one that `ssh` would be given: tokens stand for it, and upper and lower case
        differ. Further ones come from scans, which write them either way, so they count in lower case too.
        `user` is the account, where something else has decided it.
        """
        first, *others = [name for name in names if name]
        every = dict.fromkeys([first, *others, *map(lowered, others)])
        found = _Found(user, tuple(every), self._path)
        found.read(self._sections)
        if self._wants_final or found.value("canonicalizehostname") in ("yes", "always"):
            found.final = True
            found.read(self._sections)
        return found.options()


@dataclass
class _Found:
    """What has been found about a machine so far."""

    given_user: str
    original: tuple[str, ...]
    path: str
    final: bool = False
    values: dict[str, str] = field(default_factory=dict)
    identity_files: dict[str, None] = field(default_factory=dict)

    def value(self, keyword: str) -> str | None:
        return self.values.get(keyword)

    def read(self, sections: Sequence[Section]) -> None:
        """Take in the settings of all sections whose test holds when its line is reached."""
        asked = self._asked()
        for section in sections:
            if section.test is not None and not section.test(asked):
                continue
            for item in section.items:
                if isinstance(item, Setting):
                    self._take(item)
                else:
                    for included in item:
                        self.read(included)
            asked = self._asked()

    def _asked(self) -> Asked:
        now = (self._hostname(),) if "hostname" in self.values else self.original
        user = self.given_user or self.value("user") or _own_name()
        if self.final:
            now = tuple(_canonical(name) for name in now)
        return Asked(now if self.final else self.original, now, self.original, user, _own_name(), self.final)

    def _take(self, setting: Setting) -> None:
        keyword, value = setting
        if keyword == "identityfile":
            self.identity_files[value] = None
            if len(self.identity_files) > MAX_IDENTITY_FILES:
                raise ConfigError(f"{self.path}: more than {MAX_IDENTITY_FILES} IdentityFiles for a machine")
        elif not self._is_decided(keyword):
            self.values[keyword] = value

    def _is_decided(self, keyword: str) -> bool:
        """True when another value came first. ProxyJump and ProxyCommand are one decision, but a ProxyJump
        of none leaves a command its turn."""
        if keyword in self.values:
            return True
        if keyword == "proxyjump":
            return "proxycommand" in self.values
        if keyword == "proxycommand":
            return lowered(self.values.get("proxyjump", "none")) != "none"
        return keyword == "hostname" and self.final

    def _hostname(self) -> str:
        """The value of HostName, where no token but %h means anything."""
        return _percents(self.values["hostname"], {"h": self.original[0]}, f"{self.path}: HostName")

    def options(self) -> HostOptions:
        name = self.original[0]
        hostname = _canonical(self._hostname()) if "hostname" in self.values else None
        tokens = _Tokens(
            h=hostname or _canonical(name),
            n=name,
            p=self.values.get("port", "22"),
            r=self.given_user or self.values.get("user") or _own_name(),
            k=self.values.get("hostkeyalias", name),
        )
        alias = self.value("hostkeyalias")
        jump, command = self.value("proxyjump"), self.value("proxycommand")
        return HostOptions(
            hostname,
            int(self.values["port"]) if "port" in self.values else None,
            self.value("user"),
            tuple(
                _file_name(value, tokens, f"{self.path}: IdentityFile")
                for value in self.identity_files
                if lowered(value) != "none"
            ),
            self.value("identitiesonly") == "yes",
            _percents(jump, tokens, f"{self.path}: ProxyJump") if jump else None,
            command if command and lowered(command) != "none" else None,
            lowered(alias) if alias else None,
        )


class _Tokens(dict[str, str]):
    """The tokens of ssh_config(5); those that cost a system call are looked up when they are wanted."""

    def __missing__(self, token: str) -> str:
        name = socket.gethostname()
        if token == "C":
            return hashlib.sha1("".join((name, self["h"], self["p"], self["r"])).encode()).hexdigest()
        found = {"u": _own_name(), "d": str(Path.home()), "i": str(os.getuid()), "l": name}
        found["L"] = name.split(".")[0]
        return found[token]


def _canonical(name: str) -> str:
    """A host name in lower case; an address, such as 010.1 and ::0:1, in its one spelling."""
    try:
        address = str(ip_address(name))
    except ValueError:
        try:
            address = socket.inet_ntoa(socket.inet_aton(name))
        except (OSError, UnicodeError):
            return lowered(name)
    return name if lowered(address) == lowered(name) else address


def _file_name(value: str, tokens: dict[str, str], where: str) -> str:
    """With ~, ${VARIABLE} and tokens filled in, none of them in what another has brought."""
    value = os.path.expanduser(value)
    done = ""
    for part in re.split(r"(\$\{[^}]*\}?)", value):
        if not part.startswith("${"):
            done += _percents(part, tokens, where)
        elif not part.endswith("}") or part[2:-1] not in os.environ:
            raise ConfigError(f"{where}: {part}: there is no such environment variable")
        else:
            done += os.environ[part[2:-1]]
    return done


def _percents(text: str, tokens: dict[str, str], where: str) -> str:
    if "%" not in text:
        return text

    def fill(match: re.Match[str]) -> str:
        try:
            return "%" if match[1] == "%" else tokens[match[1]]
        except KeyError:
            raise ConfigError(f"{where}: {match[0]} has no meaning there") from None

    return re.sub(r"%(.?)", fill, text, flags=re.DOTALL)


@cache
def _own_name() -> str:
    """Of the account that runs labmon; "" when it has none."""
    try:
        return getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""
