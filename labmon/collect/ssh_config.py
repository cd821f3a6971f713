"""The part of ~/.ssh/config that says how to reach a machine and as whom (ssh_config(5)).

Of each keyword the first value counts, and a block counts when it matches any of the machine's names: its
address, or what the inventory calls it. Nothing is ever run: a block under `Match exec` never matches.
"""

import glob
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from getpass import getuser
from pathlib import Path
from typing import Self

from labmon.collect.known_hosts import matches
from labmon.errors import ConfigError

logger = logging.getLogger(__name__)

MAX_INCLUDES = 16
"""Files within files, as in OpenSSH."""

_WORD = re.compile(r'\s*(?:"([^"]*)"|([^\s"]\S*))')
_LINE = re.compile(r"\s*([A-Za-z0-9]+)(?:\s*=\s*|\s+)(.*?)\s*$")

_KEYWORDS = {
    *("hostname", "port", "user", "identityfile", "identitiesonly"),
    *("proxyjump", "proxycommand", "hostkeyalias"),
}


@dataclass(frozen=True)
class Options:
    """What the file says of one machine; None and empty are "nothing". Tokens (%h, ~) are filled in."""

    hostname: str | None = None
    port: int | None = None
    user: str | None = None
    identity_files: tuple[str, ...] = ()
    identities_only: bool = False
    proxy_jump: str | None = None  #: "none" is an answer too
    proxy_command: str | None = None
    host_key_alias: str | None = None


_Test = Callable[["_Asked"], bool]


@dataclass(frozen=True)
class _Block:
    """Some settings, and the tests that all have to hold: its own, and those of whoever includes it."""

    tests: tuple[_Test, ...]
    settings: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class _Asked:
    """About whom, with what has been found so far."""

    names: tuple[str, ...]
    user: str | None
    found: dict[str, list[str]] = field(default_factory=dict)

    @property
    def now(self) -> tuple[str, ...]:
        """The names as `Match host` sees them: after HostName."""
        return tuple(name.lower() for name in self.found.get("hostname", self.names))


class SshConfig:
    """A file and what it includes, read once."""

    def __init__(self, blocks: Sequence[_Block] = ()) -> None:
        self._blocks = blocks

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises ConfigError naming the file and the line, also when others may write to it."""
        return cls(list(_blocks(path, path.parent, (), 0)))

    @property
    def names_keys(self) -> bool:
        """True when some machine has keys of its own in it."""
        return any(keyword == "identityfile" for block in self._blocks for keyword, _ in block.settings)

    def options(self, *names: str | None, user: str = "") -> Options:
        """What holds for a machine with these names; the first is the one that tokens stand for. `user` is
        the account, where something else has decided it."""
        asked = _Asked(tuple(name for name in names if name), user or None)
        found = asked.found
        for block in self._blocks:
            if all(test(asked) for test in block.tests):
                for keyword, value in block.settings:
                    if keyword == "identityfile":
                        found.setdefault(keyword, []).append(value)
                    elif not (_SAME.get(keyword, {keyword}) & found.keys()):
                        found[keyword] = [value]
        return _options(asked)


# The two are one setting: the first of them wins.
_SAME = dict.fromkeys(("proxyjump", "proxycommand"), {"proxyjump", "proxycommand"})


def _options(asked: _Asked) -> Options:
    found = {keyword: values[0] for keyword, values in asked.found.items()}
    name = asked.names[0]
    hostname = _fill(found["hostname"], {"h": name}) if "hostname" in found else None
    account = _own_name()
    tokens = {
        "h": hostname or name,
        "n": name,
        "p": found.get("port", "22"),
        "r": asked.user or found.get("user", account),
        "u": account,
        "d": str(Path.home()),
    }
    command = found.get("proxycommand")
    return Options(
        hostname,
        int(found["port"]) if "port" in found else None,
        found.get("user"),
        tuple(
            os.path.expanduser(_fill(value, tokens))
            for value in dict.fromkeys(asked.found.get("identityfile", []))
            if value.lower() != "none"
        ),
        found.get("identitiesonly", "").lower() in ("yes", "true"),
        found.get("proxyjump"),
        command if command and command.lower() != "none" else None,
        found.get("hostkeyalias"),
    )


def _fill(text: str, tokens: dict[str, str]) -> str:
    return re.sub(r"%(.)", lambda match: "%" if match[1] == "%" else tokens.get(match[1], match[0]), text)


def _own_name() -> str:
    try:
        return getuser()
    except (KeyError, OSError):
        return ""


def _blocks(path: Path, folder: Path, within: tuple[_Test, ...], depth: int) -> Iterator[_Block]:
    if depth > MAX_INCLUDES:
        raise ConfigError(f"{path}: it is included in itself, or {MAX_INCLUDES} files deep")
    block = _Block(within)
    for number, line in enumerate(_read(path).splitlines(), 1):
        where = f"{path} line {number}"
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parsed = _LINE.match(line)
        if parsed is None:
            raise ConfigError(f"{where}: not `keyword value`: {line.strip()[:60]!r}")
        keyword, rest = parsed[1].lower(), parsed[2]
        if keyword in ("host", "match"):
            yield block
            words = _words(rest, where)
            block = _Block((*within, _host(words) if keyword == "host" else _match(words, where)))
        elif keyword == "include":
            yield block
            for pattern in _words(rest, where):
                pattern = os.path.expanduser(pattern)
                for name in sorted(glob.glob(str(folder / pattern))):
                    yield from _blocks(Path(name), folder, block.tests, depth + 1)
            block = _Block(block.tests)
        elif keyword in _KEYWORDS:
            block.settings.append((keyword, _value(keyword, rest, where)))
    yield block


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="surrogateescape") as file:
            mode = os.fstat(file.fileno())
            if mode.st_mode & 0o022 or mode.st_uid not in (0, os.geteuid()):
                raise ConfigError(
                    f"{path}: others may write to it, and it decides where labmon logs in: "
                    f"chown and chmod 600 {path}, or set [collect] ssh_config"
                )
            return file.read()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _value(keyword: str, rest: str, where: str) -> str:
    # A command is the rest of the line, quotes and all.
    value = rest if keyword == "proxycommand" else next(iter(_words(rest, where)), "")
    if not value:
        raise ConfigError(f"{where}: {keyword} has no value")
    if keyword == "port" and not (value.isascii() and value.isdigit() and 1 <= int(value) <= 65535):
        raise ConfigError(f"{where}: there is no port {value}")
    return value


def _words(text: str, where: str) -> list[str]:
    """Separated by white space, in double quotes where they hold some, up to a comment."""
    words, place = [], 0
    text = text.rstrip()
    while place < len(text):
        word = _WORD.match(text, place)
        if word is None:
            raise ConfigError(f"{where}: a quote that does not end")
        quoted, plain = word.groups()
        if plain is not None and plain.startswith("#"):
            break
        words.append(quoted if quoted is not None else plain)
        place = word.end()
    return words


def _host(patterns: Sequence[str]) -> _Test:
    lowered = [pattern.lower() for pattern in patterns]
    return lambda asked: _one_of(asked.names, lowered)


def _one_of(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """One of the names is meant, and none is excluded."""
    positive = [pattern for pattern in patterns if not pattern.startswith("!")]
    negative = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    lowered = [name.lower() for name in names]
    return any(matches(name, positive) for name in lowered) and not any(
        matches(name, negative) for name in lowered
    )


def _match(words: Sequence[str], where: str) -> _Test:
    """The criteria that can be told from here; any other makes the block match nobody."""
    tests: list[_Test] = []
    rest = iter(words)
    for word in rest:
        criterion, equals, argument = word.partition("=")
        negated = criterion.startswith("!")
        criterion = criterion.lower().removeprefix("!")
        if criterion == "all":
            tests.append(lambda _: True)
            continue
        test = None
        if criterion not in ("canonical", "final"):
            argument = argument if equals else next(rest, "")
            test = _criterion(criterion, argument.split(","))
        if test is None:
            logger.info("%s: labmon does not look at `Match %s`: the block is left out", where, criterion)
            return lambda _: False
        tests.append(_negation(test) if negated else test)
    if not tests:
        raise ConfigError(f"{where}: Match says nobody")
    return lambda asked: all(test(asked) for test in tests)


def _criterion(criterion: str, patterns: Sequence[str]) -> _Test | None:
    lowered = [pattern.lower() for pattern in patterns]
    tests: dict[str, _Test] = {
        "host": lambda asked: _one_of(asked.now, lowered),
        "originalhost": lambda asked: _one_of(asked.names, lowered),
        "user": lambda asked: matches(asked.user or asked.found.get("user", [_own_name()])[0], patterns),
        "localuser": lambda _: matches(_own_name(), patterns),
    }
    return tests.get(criterion)


def _negation(test: _Test) -> _Test:
    return lambda asked: not test(asked)
