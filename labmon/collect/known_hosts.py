"""What OpenSSH's files of known hosts say (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"). Read, never written.

A hashed name can be compared with a given one, at the price of an HMAC, and not looked up: asking 50,000
lines for a thousand machines would be fifty million of them. So the question is turned round. The key that a
machine shows is looked up, and only the lines with that key are asked for its name. All hashed lines are
asked only about a machine whose key is in none of them, once: after that it is pinned, or refused.
"""

import binascii
import hashlib
import logging
import os
import re
import threading
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

logger = logging.getLogger(__name__)

HostKey = tuple[str, bytes]
"""(type such as "ssh-ed25519", the key as it travels)"""

_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


def host_name(host: str, port: int = 22) -> str:
    """What OpenSSH calls a machine in its files."""
    try:
        host = str(ip_address(host))
    except ValueError:
        host = host.lower()
    return host if port == 22 else f"[{host}]:{port}"


class KnownHosts:
    """Some files, in memory from the first question on, and read again when they have changed.

    A file that is not there is empty. Lines that make no sense are skipped, and so are certificate
    authorities (`@cert-authority`): machines are asked for plain keys. For any thread.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self.files = tuple(files)
        self._lock = threading.Lock()
        self._seen: tuple[tuple[int, ...], ...] = ()
        self._texts: list[bytes] = []
        self._index: _Index | None = None
        self._revoked: set[bytes] = set()

    def revoked(self, key: bytes) -> bool:
        """True for a key that a line marks as `@revoked`, for whichever machine."""
        with self._lock:
            self._refresh()
            return key in self._revoked

    def vouches(self, names: Sequence[str], key: HostKey) -> bool:
        """True when a line has this very key for one of the names. Quick, hashed or not."""
        return self._indexed().has(names, key)

    def plainly(self, names: Sequence[str]) -> list[HostKey]:
        """The keys of those lines that are not hashed. Quick."""
        return self._indexed().plainly(names)

    def keys(self, names: Sequence[str]) -> list[HostKey]:
        """Every key for one of the names. Costs a little under 1 us for each name and hashed line."""
        index = self._indexed()
        return index.plainly(names) + index.hashed_for(names)

    def _indexed(self) -> "_Index":
        with self._lock:
            self._refresh()
            if self._index is None:
                self._index = _Index()
                for text in self._texts:
                    self._index.add(text)
                self._texts = []
            return self._index

    def _refresh(self) -> None:
        seen = tuple(_state(path) for path in self.files)
        if seen == self._seen:
            return
        self._seen, self._index = seen, None
        self._texts = [_read(path) for path in self.files]
        # Asked about every machine in every run, while the rest is wanted for new machines only.
        self._revoked = {
            key
            for text in self._texts
            if b"@revoked" in text
            for marker, _, _, key in _lines(text)
            if marker == "@revoked"
        }


_Hashed = tuple[bytes, bytes, bytes, HostKey]
"""A name that can only be recognised, HMAC-SHA1(salt, name): the salt made ready for the inner and for the
outer hash, the result, and the key."""


def _for(names: Sequence[str], hashed: Iterable[_Hashed]) -> list[HostKey]:
    # Half the price of hmac.digest, which sets up a context each time.
    sha1 = hashlib.sha1
    return [
        key
        for name in map(str.encode, names)
        for inner, outer, digest, key in hashed
        if sha1(outer + sha1(inner + name).digest()).digest() == digest
    ]


@dataclass
class _Index:
    plain: dict[str, list[HostKey]] = field(default_factory=dict)
    patterns: list[tuple[list[str], HostKey]] = field(default_factory=list)
    hashed: list[_Hashed] = field(default_factory=list)
    by_key: dict[HostKey, list[_Hashed]] = field(default_factory=dict)

    def add(self, text: bytes) -> None:
        for marker, names, kind, blob in _lines(text):
            key = (kind, blob)
            if marker:
                continue
            if names.startswith("|"):
                if (hashed := _hashed(names, key)) is not None:
                    self.hashed.append(hashed)
                    self.by_key.setdefault(key, []).append(hashed)
            elif any(sign in names for sign in "*?!"):
                self.patterns.append((names.lower().split(","), key))
            else:
                for name in names.lower().split(","):
                    self.plain.setdefault(name, []).append(key)

    def plainly(self, names: Sequence[str]) -> list[HostKey]:
        found = [key for name in names for key in self.plain.get(name, [])]
        found += [key for patterns, key in self.patterns if any(matches(name, patterns) for name in names)]
        return list(dict.fromkeys(found))

    def has(self, names: Sequence[str], key: HostKey) -> bool:
        return bool(_for(names, self.by_key.get(key, ()))) or key in self.plainly(names)

    def hashed_for(self, names: Sequence[str]) -> list[HostKey]:
        return _for(names, self.hashed)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """OpenSSH's pattern lists: `*`, `?`, and a pattern after `!` that takes out what it matches."""
    found = False
    for pattern in patterns:
        if _pattern(pattern.removeprefix("!")).fullmatch(name):
            if pattern.startswith("!"):
                return False
            found = True
    return found


@lru_cache(maxsize=4096)
def _pattern(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern.replace("[", "[[]")))  # brackets stand for themselves, as in [::1]:22


def _lines(text: bytes) -> Iterator[tuple[str, str, str, bytes]]:
    """(marker or "", names, type, key) of each line that has these."""
    for line in text.decode("utf-8", "replace").split("\n"):
        words = line.split(None, 4)
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#"):
            continue
        try:
            yield marker, words[0], words[1], b64decode(words[2])
        except (binascii.Error, ValueError):
            continue


def _hashed(name: str, key: HostKey) -> _Hashed | None:
    """|1|SALT|HASH"""
    try:
        _, one, salt, digest = name.split("|")
        padded = b64decode(salt).ljust(64, b"\0")
        if one == "1" and len(padded) == 64:
            return padded.translate(_INNER), padded.translate(_OUTER), b64decode(digest), key
    except (binascii.Error, ValueError):
        pass
    return None


def _state(path: Path) -> tuple[int, ...]:
    try:
        now = os.stat(path)
    except OSError:
        return ()
    return (now.st_ino, now.st_size, now.st_mtime_ns)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        logger.warning("%s: its known hosts are not used: %s", path, error.strerror)
        return b""
