"""What OpenSSH's files of known hosts say (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"). Read, never written.

A hashed name can be compared with a given one, at the price of an HMAC, and not looked up: to compare 50,000
lines with a thousand machines would take fifty million of them. So the key that a machine shows is looked up,
and only the lines with that key are compared with the machine's name. All hashed lines are compared only for
a machine whose key is in none of them, and once: after that its key is pinned, or refused.
"""

import binascii
import hashlib
import logging
import os
import threading
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from labmon.collect.hostkeys.public_key import HostKey, is_valid, read_key
from labmon.collect.patterns import lowered, matches

logger = logging.getLogger(__name__)

MAX_BYTES = 64 << 20
"""Of one file: half a million machines."""

MAX_LINE = 64 << 10
"""Characters of a line. The longest key takes 3,000, the rest are names."""

_INNER = bytes(byte ^ 0x36 for byte in range(256))
_OUTER = bytes(byte ^ 0x5C for byte in range(256))


def host_name(host: str, port: int = 22) -> str:
    """The name of a machine in OpenSSH's files."""
    try:
        host = str(ip_address(host))
    except ValueError:
        host = lowered(host)
    return host if port == 22 else f"[{host}]:{port}"


class KnownHosts:
    """Some files, in memory from the first question on, and read again when they have changed.

    A file that does not exist is empty. Lines without a whole key of a type that labmon can ask for are
    skipped, and so are certificate authorities (`@cert-authority`): machines are asked for plain keys. For
    any thread.
    """

    def __init__(self, files: Iterable[Path]) -> None:
        self.files = tuple(files)
        self._lock = threading.Lock()
        self._seen: tuple[tuple[int, ...], ...] = ()
        self._texts: list[bytes] = []
        self._index: _Index | None = None
        self._revoked: set[bytes] = set()

    @property
    def version(self) -> str:
        """Another text when one of the files was changed."""
        return repr([_state(path) for path in self.files])

    def revoked_keys(self) -> list[bytes]:
        """Those that a line marks as `@revoked`, in order."""
        with self._lock:
            self._refresh()
            return sorted(self._revoked)

    def revoked(self, key: bytes) -> bool:
        """True for a key that a line marks as `@revoked`, for whichever machine."""
        with self._lock:
            self._refresh()
            return key in self._revoked

    def has_key(self, names: Sequence[str], key: HostKey) -> bool:
        """True when a line has this very key for one of the names. Quick, hashed or not."""
        return self._indexed().has_key(names, key)

    def lookup_plain(self, names: Sequence[str]) -> list[HostKey]:
        """The keys of those lines that are not hashed. Quick."""
        return self._indexed().lookup_plain(names)

    def keys(self, names: Sequence[str]) -> list[HostKey]:
        """Every key for one of the names. Costs a little under 1 us for each name and hashed line."""
        index = self._indexed()
        return index.lookup_plain(names) + index.lookup_hashed(names)

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
        # Looked up for every machine in every run, while the rest is for new machines only.
        self._revoked = {
            key[1]
            for text in self._texts
            if b"@revoked" in text
            for marker, _, key in _lines(text)
            if marker == "@revoked"
        }


_Hashed = tuple[bytes, bytes, bytes, HostKey]
"""A hashed name, HMAC-SHA1(salt, name): the salt prepared for the inner and for the outer hash, the result,
and the key."""


def _for(names: Sequence[str], hashed: Iterable[_Hashed]) -> list[HostKey]:
    # Half the cost of hmac.digest, which sets up a context each time.
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
        for marker, names, key in _lines(text):
            if marker:
                continue
            if names.startswith("|"):
                if (hashed := _hashed(names, key)) is not None:
                    self.hashed.append(hashed)
                    self.by_key.setdefault(key, []).append(hashed)
            elif any(sign in names for sign in "*?!"):
                self.patterns.append((lowered(names).split(","), key))
            else:
                for name in lowered(names).split(","):
                    self.plain.setdefault(name, []).append(key)

    def lookup_plain(self, names: Sequence[str]) -> list[HostKey]:
        found = [key for name in names for key in self.plain.get(name, [])]
        found += [key for patterns, key in self.patterns if any(matches(name, patterns) for name in names)]
        return list(filter(is_valid, dict.fromkeys(found)))

    def has_key(self, names: Sequence[str], key: HostKey) -> bool:
        return bool(_for(names, self.by_key.get(key, ()))) or key in self.lookup_plain(names)

    def lookup_hashed(self, names: Sequence[str]) -> list[HostKey]:
        return list(filter(is_valid, _for(names, self.hashed)))


def _lines(text: bytes) -> Iterator[tuple[str, str, HostKey]]:
    """(marker or "", names, key) of each line that has these. Only blanks and tabs separate words."""
    for line in text.decode("utf-8", "replace").split("\n"):
        if len(line) > MAX_LINE:
            continue
        words = line.split("\0", 1)[0].rstrip("\r").replace("\t", " ").lstrip(" ").split(" ")
        words = [word for word in words if word] if "" in words else words
        if not words or words[0].startswith("#"):
            continue
        marker = words.pop(0) if words[0].startswith("@") else ""
        if len(words) < 3 or (marker and marker not in ("@revoked", "@cert-authority")):
            continue
        key = read_key(words[1], words[2])
        if key is not None:
            yield marker, words[0], key


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
        # Without waiting for the other end of a pipe.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            text = file.read(MAX_BYTES + 1) or b""
    except FileNotFoundError:
        return b""
    except OSError as error:
        logger.warning("%s: its known hosts are not used: %s", path, error.strerror)
        return b""
    if len(text) > MAX_BYTES:
        logger.warning("%s: of its known hosts only the first %s MiB are used", path, MAX_BYTES >> 20)
    return text[:MAX_BYTES]
