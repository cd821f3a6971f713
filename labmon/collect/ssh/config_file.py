"""The text of an ssh_config and of the files it includes, read into sections that can be asked.

A section is what stands between two lines `Host` or `Match`: a test, and the settings for machines that pass
it. Nothing is ever run: a section under `Match exec` matches no machine.
"""

import glob
import logging
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from labmon.collect.patterns import lowered, matches
from labmon.collect.ssh.config_words import UnclosedQuote, arguments, keyword_and_rest, next_word
from labmon.collect.ssh.jump import parse_hops, parse_port
from labmon.errors import ConfigError

logger = logging.getLogger(__name__)

MAX_DEPTH = 16
"""Files within files, as in OpenSSH."""

MAX_FILES = 1000
MAX_BYTES = 4 << 20
MAX_LINE = 16 << 10
"""Bounds of all files together, and of a line in bytes: a file of machines by name needs a tenth of that."""

MAX_IDENTITY_FILES = 100
"""Of one machine, as in OpenSSH."""

_ALIASES = {"identityfile2": "identityfile"}
_ONE_WORD = {"hostname", "port", "user", "identityfile", "hostkeyalias"}
_CHOICES = {
    "identitiesonly": {"yes": "yes", "true": "yes", "no": "no", "false": "no"},
    "canonicalizehostname": {"yes": "yes", "true": "yes", "no": "no", "false": "no", "always": "always"},
}


class Asked(NamedTuple):
    """The machine that is asked about, as far as the lines before this one have described it."""

    names: tuple[str, ...]  #: for `Host`; the first is how the machine was asked for
    hostnames: tuple[str, ...]  #: for `Match host`: what HostName made of them
    original: tuple[str, ...]  #: for `Match originalhost`
    user: str  #: the account that would log in
    local_user: str
    final: bool  #: the file is read for the second time


Test = Callable[[Asked], bool]


class Setting(NamedTuple):
    """A line that says something of a machine; the keyword is in lower case."""

    keyword: str
    value: str


@dataclass
class Section:
    """A test, None for what stands before the first one, and settings and included files in their order."""

    test: Test | None = None
    items: "list[Setting | list[list[Section]]]" = field(default_factory=list)


class Reader:
    """Reads one file with all its includes. `wants_final` tells afterwards whether a line `Match final` asks
    for everything to be read a second time."""

    def __init__(self) -> None:
        self.wants_final = False
        self.keywords: set[str] = set()  #: all that some line has
        self.files: list[Path] = []  #: in the order in which they are read
        self._bytes = 0

    def read(self, path: Path, depth: int = 0) -> list[Section]:
        """The sections of a file. Raises ConfigError naming the file and the line."""
        self.files.append(path)
        if depth > MAX_DEPTH:
            raise ConfigError(f"{path}: it is included in itself, or {MAX_DEPTH} files deep")
        if len(self.files) > MAX_FILES:
            raise ConfigError(f"{path}: more than {MAX_FILES} included files")
        sections = [Section()]
        for number, line in enumerate(self._text(path, included=depth > 0).split("\n"), 1):
            where = f"{path} line {number}"
            if len(line) > MAX_LINE:
                raise ConfigError(f"{where}: longer than {MAX_LINE} characters")
            keyword, rest = keyword_and_rest(line)
            keyword = lowered(keyword)
            if not keyword:
                continue
            if not rest:
                raise ConfigError(f"{where}: {keyword} has no value")
            try:
                self._take(keyword, rest, sections, where, depth)
            except UnclosedQuote:
                raise ConfigError(f"{where}: a quote that does not end") from None
        return sections

    def _take(self, keyword: str, rest: str, sections: list[Section], where: str, depth: int) -> None:
        if keyword == "host":
            sections.append(Section(_host(arguments(rest), where)))
        elif keyword == "match":
            sections.append(Section(self._match(rest, where)))
        elif keyword == "include":
            sections[-1].items.append(self._include(arguments(rest), where, depth))
        elif setting := _setting(_ALIASES.get(keyword, keyword), rest, where):
            self.keywords.add(setting.keyword)
            sections[-1].items.append(setting)

    def _include(self, patterns: Sequence[str], where: str, depth: int) -> list[list[Section]]:
        files = []
        for pattern in patterns:
            if not pattern:
                raise ConfigError(f"{where}: include has an empty name")
            anchored = pattern if pattern.startswith(("/", "~")) else f"~/.ssh/{pattern}"
            for name in sorted(glob.glob(os.path.expanduser(anchored)), key=os.fsencode):
                files.append(self.read(Path(name), depth + 1))
        return files

    def _text(self, path: Path, *, included: bool) -> str:
        try:
            # Without waiting for the other end of a pipe.
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                state = os.fstat(file.fileno())
                if stat.S_ISREG(state.st_mode) and (
                    state.st_mode & 0o022 or state.st_uid not in (0, os.geteuid())
                ):
                    raise ConfigError(
                        f"{path}: others may write to it, and it decides where labmon logs in: "
                        f"chown and chmod 600 {path}, or set [collect] ssh_config"
                    )
                data = file.read(MAX_BYTES - self._bytes + 1)
        except IsADirectoryError as error:
            if included:  # a pattern such as config.d/* finds folders, too
                return ""
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        self._bytes += len(data or b"")
        if self._bytes > MAX_BYTES:
            raise ConfigError(f"{path}: more than {MAX_BYTES >> 20} MiB of ssh_config")
        return (data or b"").decode("utf-8", "surrogateescape")

    def _match(self, text: str, where: str) -> Test:
        """All criteria of a line. One that labmon cannot judge makes the section match no machine."""
        tests: list[Test] = []
        skipped, count = "", 0
        while text:
            word, text = next_word(text)
            if not word or word.startswith("#"):
                break
            negated, criterion = word.startswith("!"), lowered(word.removeprefix("!"))
            if criterion == "all":
                more, _ = next_word(text)
                if count > 1 or not (more == "" or more.startswith("#")):
                    raise ConfigError(f"{where}: Match all stands alone")
                tests.append(lambda asked, no=negated: not no)  # type: ignore[misc]
                count += 1
                break
            count += 1
            if criterion in ("canonical", "final"):
                self.wants_final |= criterion == "final"
                tests.append(lambda asked, no=negated: asked.final != no)  # type: ignore[misc]
                continue
            argument, text = next_word(text)
            if not argument or argument.startswith("#"):
                raise ConfigError(f"{where}: Match {criterion} has no value")
            test = _criterion(criterion, argument)
            if test is None:
                skipped = criterion
            else:
                tests.append(lambda asked, test=test, no=negated: test(asked) != no)  # type: ignore[misc]
        if not count:
            raise ConfigError(f"{where}: Match names no criterion")
        if skipped:
            logger.info("%s: labmon does not look at `Match %s`: its section is left out", where, skipped)
            return lambda _: False
        return lambda asked: all(test(asked) for test in tests)


def _criterion(criterion: str, argument: str) -> Test | None:
    patterns = argument.split(",")
    small = lowered(argument).split(",")
    tests: dict[str, Test] = {
        "host": lambda asked: _any_name(asked.hostnames, small, fold=True),
        "originalhost": lambda asked: _any_name(asked.original, small, fold=True),
        "user": lambda asked: matches(asked.user, patterns),
        "localuser": lambda asked: matches(asked.local_user, patterns),
    }
    return tests.get(criterion)


def _host(patterns: Sequence[str], where: str) -> Test:
    if "" in patterns:
        raise ConfigError(f"{where}: host has an empty pattern")
    return lambda asked: _any_name(asked.names, patterns, fold=False)


def _any_name(names: Sequence[str], patterns: Sequence[str], *, fold: bool) -> bool:
    """One of the machine's names matches, and none of them is excluded."""
    if fold:
        names = [lowered(name) for name in names]
    if len(names) == 1:
        return matches(names[0], patterns)
    positive = [pattern for pattern in patterns if not pattern.startswith("!")]
    negative = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    return any(matches(name, positive) for name in names) and not any(
        matches(name, negative) for name in names
    )


def _setting(keyword: str, rest: str, where: str) -> Setting | None:
    """None for a keyword that says nothing of use here; OpenSSH has a hundred more."""
    if keyword == "proxycommand":  # the rest of the line, quotes, comment and all
        return Setting(keyword, rest.lstrip(" \t\r\n="))
    if keyword == "proxyjump":  # up to the first blank, quotes and all
        value = (rest.lstrip(" \t\r\n=").split("#", 1)[0].split() or [""])[0]
        if not value:
            raise ConfigError(f"{where}: {keyword} has no value")
        if "%" not in value:
            parse_hops(value, f"{where}: ProxyJump")
        return Setting(keyword, value)
    if keyword not in _ONE_WORD and keyword not in _CHOICES:
        return None
    words = arguments(rest)
    if not words or not words[0]:
        raise ConfigError(f"{where}: {keyword} has no value")
    if len(words) > 1:
        raise ConfigError(f"{where}: {keyword} takes one value: put it in quotes if it has blanks in it")
    value = words[0]
    if keyword == "port":
        port = parse_port(value)
        if port is None:
            raise ConfigError(f"{where}: there is no port {value}")
        value = str(port)
    elif keyword in _CHOICES:
        choice = _CHOICES[keyword].get(lowered(value))
        if choice is None:
            raise ConfigError(f"{where}: {keyword} is {' or '.join(_CHOICES[keyword])}, not {value}")
        value = choice
    return Setting(keyword, value)
