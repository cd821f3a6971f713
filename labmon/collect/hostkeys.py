"""The host keys of the machines, in one file of labmon's own, in the format of known_hosts (sshd(8)).

Not the user's known_hosts: that one may be long, hashed and shared, and is nobody's to fill from a daemon.
`ssh -o UserKnownHostsFile=FILE` and `ssh-keygen -F/-R` work on it.
"""

import base64
import fcntl
import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Literal

from labmon.collect.failures import HostFailed
from labmon.errors import PermissionNeeded

logger = logging.getLogger(__name__)

Policy = Literal["accept-new", "strict", "off"]
LOCK_TIMEOUT = 5.0
"""Seconds. The lock is held for a fraction of a millisecond; whoever holds it longer is stuck."""


def host_name(address: str, port: int) -> str:
    """What a machine is called in the file: as OpenSSH writes it, so that its tools find it."""
    try:
        address = str(ip_address(address))
    except ValueError:
        address = address.lower()
    return address if port == 22 else f"[{address}]:{port}"


def fingerprint(blob: bytes) -> str:
    """SHA256:..., as `ssh-keygen -l` shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


class HostKeys:
    """The store, indexed in memory. Safe for threads, and for other processes that add to the same file.

    Lines it cannot index (comments, markers, hashed names) are left alone. Raises `PermissionNeeded` when
    the file cannot be read, or, where the policy may add to it, written.
    """

    def __init__(self, file: Path, policy: Policy) -> None:
        self.file = file
        self.policy = policy
        self._keys: dict[str, list[tuple[str, str]]] = {}  # name -> (type, key in base64)
        self._read_to = (0, 0)  # inode and offset up to which the file is in memory
        self._lock = threading.Lock()
        if policy == "off":
            return
        try:
            if policy == "accept-new":
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.close(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._catch_up()
        except OSError as error:
            raise PermissionNeeded(
                f"{file}: the host keys are kept there, and it cannot be used: {error.strerror}. "
                "Mend its permissions, or choose another [state] dir"
            ) from error

    def __len__(self) -> int:
        return len(self._keys)

    def types(self, name: str) -> list[str]:
        """The types of the keys known for a machine. Asking for these first avoids that a machine with
        several keys seems to have changed."""
        with self._lock:
            return [kind for kind, _ in self._keys.get(name, [])]

    def check(self, name: str, kind: str, blob: bytes) -> None:
        """Return if the machine may be trusted to be itself, having remembered it if it is new and may be.

        Raises `HostFailed`: host key changed, host key unknown, or local error.
        """
        if self.policy == "off":
            return
        key = (kind, base64.b64encode(blob).decode())
        with self._lock:
            if key in self._keys.get(name, []):
                return
            try:
                # Another process may have learnt it meanwhile, or somebody removed the line of the old key.
                if self.policy == "strict":
                    self._catch_up()
                else:
                    with self._file_lock():
                        self._catch_up()
                        if name not in self._keys:
                            self._append(name, key)
            except OSError as error:
                raise HostFailed("local error", f"{self.file}: {error.strerror or error}") from error
            known = self._keys.get(name, [])
        if key in known:
            return
        if not known:
            raise HostFailed(
                "host key unknown",
                f"{kind} {fingerprint(blob)}, and [collect] host_keys is strict. "
                f"If that is its key, append to {self.file}: {name} {kind} {key[1]}",
            )
        expected = ", ".join(f"{k} {fingerprint(base64.b64decode(b))}" for k, b in known)
        raise HostFailed(
            "host key changed",
            f"it was {expected} and is now {kind} {fingerprint(blob)}. If the machine was installed anew: "
            f"ssh-keygen -R '{name}' -f {self.file}; if not, somebody may be listening in",
        )

    def _catch_up(self) -> None:
        """Read what was added to the file; all of it, if it is another file or shorter than before."""
        try:
            with self.file.open("rb") as file:
                now = os.fstat(file.fileno())
                inode, offset = self._read_to
                if now.st_ino != inode or now.st_size < offset:
                    self._keys, offset = {}, 0
                file.seek(offset)
                text = file.read(now.st_size - offset)
        except FileNotFoundError:
            self._keys, self._read_to = {}, (0, 0)
            return
        # A line without its end is being written, or never will be: it is read again next time.
        end = text.rfind(b"\n") + 1
        self._read_to = (now.st_ino, offset + end)
        for line in text[:end].decode("utf-8", "replace").split("\n"):
            words = line.split(None, 3)
            if len(words) >= 3 and line[0] not in "#@|":
                for name in words[0].split(","):
                    self._keys.setdefault(name, []).append((words[1], words[2]))

    def _append(self, name: str, key: tuple[str, str]) -> None:
        """One write of one whole line. It is not synced: a key lost in a crash is learnt again."""
        line = f"{name} {key[0]} {key[1]}\n".encode()
        with self.file.open("ab+", buffering=0) as file:
            if size := file.seek(0, os.SEEK_END):
                file.seek(size - 1)
                if file.read(1) != b"\n":
                    line = b"\n" + line  # somebody died while writing
            written = file.write(line)
        if written != len(line):
            raise OSError(f"only {written} of {len(line)} bytes could be written")
        self._catch_up()
        logger.info("remembered the host key of %s: %s", name, key[0])

    @contextmanager
    def _file_lock(self) -> Iterator[None]:
        """Hold the lock file beside the store, which other processes of labmon take as well."""
        lock = self.file.with_name(self.file.name + ".lock")
        deadline = time.monotonic() + LOCK_TIMEOUT
        with lock.open("ab") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"{lock} has been held for {LOCK_TIMEOUT:g} s") from None
                    time.sleep(0.005)
            yield
