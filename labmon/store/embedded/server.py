"""Starting and stopping the server of a state folder.

The first labmon process starts the server and the last one stops it. Who is still using it, and whether it
runs at all, is known by file locks, which the kernel drops when a process dies in whatever way, so nothing
can go stale. The server inherits `running.lock` and so holds it for as long as one of its processes lives.
"""

import atexit
import hashlib
import logging
import os
import re
import shlex
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
from urllib.parse import quote

from labmon import files
from labmon.closing import Closing
from labmon.errors import PermissionNeeded, StoreUnavailable
from labmon.store.embedded import account as accounts
from labmon.store.embedded import folders
from labmon.store.embedded.account import Account
from labmon.store.embedded.programs import Programs

logger = logging.getLogger(__name__)

PORT = 5432
"""Only the name of the socket; the server listens on no network address."""

SOCKET_PATH_LIMIT = 107
"""Bytes in a Unix socket's path on Linux (sockaddr_un in unix(7), less the closing NUL)."""

START_TIMEOUT = 120
"""Seconds. After a crash the server replays its log before it answers."""

BUSY_TIMEOUT = 3 * START_TIMEOUT
"""Seconds to wait for another process that starts or stops it: the first start also makes the database."""

STATUS_LINE = 7
"""Of postmaster.pid, counted from 0: "starting", "ready" or "stopping" (src/include/utils/pidfile.h)."""


class Embedded(Closing):
    """A share in the server of one state folder; hold it for as long as the `url` is in use.

    Raises StoreRefused where there is no PostgreSQL to run, StoreUnavailable where it does not start, and
    PermissionNeeded where the folder is not ours alone, or keeps the server's own account out.
    """

    def __init__(self, state_dir: Path) -> None:
        self._home = state_dir / "postgres"
        self._data = self._home / "data"
        self._users: int | None = None
        folders.make_home(self._home)
        self._account = accounts.find()
        _check_enter(self._home, self._account)
        self._sockets = _socket_folder(self._home / "socket", self._account)
        # Also where `close` is never called: a signal may come between here and the caller's next line.
        atexit.register(self.close)
        try:
            with self._alone():
                self._programs = Programs.find(self._data, self._home, self._account)
                self._users = folders.open_lock(self._home / "users.lock")
                files.acquire(self._users, self._home / "users.lock", shared=True)  # free: we are alone
                self._start()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """A connection URL, good until `close`."""
        return _url(self._sockets)

    def close(self) -> None:
        """Give up the share. The last one to do so stops the server. Idempotent."""
        atexit.unregister(self.close)
        if self._users is None:
            return
        try:
            with self._alone():
                users, self._users = self._users, None
                try:
                    if files.acquire(users, self._home / "users.lock", timeout=0):
                        self._stop()
                finally:
                    os.close(users)
        except StoreUnavailable as error:  # the end of this process gives up the share
            logger.warning("%s", error)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Starting and stopping is for one process at a time, and no signal comes in the middle of it.

        Raises StoreUnavailable when another process does so for more than `BUSY_TIMEOUT`.
        """
        path = self._home / "server.lock"
        lock = folders.open_lock(path)
        try:
            if not files.acquire(lock, path, timeout=BUSY_TIMEOUT):
                raise StoreUnavailable(
                    f"another labmon process has been starting or stopping the embedded PostgreSQL for "
                    f"{BUSY_TIMEOUT} s. Find it with: fuser {path}"
                )
            with _undisturbed():
                yield
        finally:
            os.close(lock)

    def _start(self) -> None:
        if not self._data.exists():  # it comes by a rename, so it is whole
            self._initialise()
        folders.give(self._sockets, self._account)
        deadline = time.monotonic() + START_TIMEOUT
        while not self._is_ready():
            with self._claim_start() as lock:
                if lock is not None:
                    self._launch(lock)
                    return
            # It is starting or stopping, or it was killed and its children have not noticed yet.
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"the embedded PostgreSQL runs and does not answer; {self._log} says why"
                )
            time.sleep(0.05)

    @contextmanager
    def _claim_start(self) -> Iterator[int | None]:
        """The lock for a server to inherit; None while a server of this folder has it."""
        path = self._home / "running.lock"
        lock = folders.open_lock(path)
        try:
            yield lock if files.acquire(lock, path, timeout=0) else None
        finally:
            os.close(lock)

    def _launch(self, lock: int) -> None:
        if pid := _foreign_server(self._data):
            raise StoreUnavailable(
                f"a PostgreSQL that labmon did not start runs in {self._data}: process {pid}. Stop it first"
            )
        self._programs.remove_others(self._home)
        # Left by a server that was killed. It would refuse to start if another process had its number by now.
        for stale in (self._data / "postmaster.pid", self._socket.with_name(f"{self._socket.name}.lock")):
            try:
                stale.unlink(missing_ok=True)
            except OSError as error:
                raise folders.not_ours(stale, error) from error
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "unix_socket_permissions": "0700",
            "port": str(PORT),
            "timezone": "UTC",
            "max_connections": "200",
        }
        written = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in options.items())
        start = ["start", "-D", str(self._data), "-l", self._log, "-w", "-t", str(START_TIMEOUT)]
        self._programs.run("pg_ctl", *start, "-o", written, pass_fds=(lock,))
        if not self._is_ready():
            raise StoreUnavailable(f"the embedded PostgreSQL did not start; {self._log} says why")

    def _stop(self) -> None:
        with self._claim_start() as lock:
            if lock is not None:
                # A postmaster.pid that was left behind may bear the number of any process by now, and a
                # server without our lock was started by somebody else. pg_ctl would stop either.
                return
        self._programs.run("pg_ctl", "stop", "-D", str(self._data), "-m", "fast", "-w", "-t", "60")
        if self._sockets.parent != self._home:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def _initialise(self) -> None:
        logger.warning("no database is configured and there is none yet: making one in %s", self._data)
        # Trust is safe here: only the server's account (and root) can enter the socket's folder.
        arguments = ["--auth=trust", "--encoding=UTF8", "--no-locale", "--username=labmon"]
        unfinished = self._data.with_name("data.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        folders.give(unfinished, self._account)
        done = self._programs.run("initdb", *arguments, "-D", str(unfinished))
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["it did not say why"]
            cause = next((line for line in lines if re.search("error|FATAL|could not", line)), lines[-1])
            raise StoreUnavailable(f"the embedded PostgreSQL could not be set up in {self._data}: {cause}")
        # One rename, so that a process killed half-way leaves nothing that looks like a database.
        unfinished.rename(self._data)

    def _is_ready(self) -> bool:
        """True when it answers and does not say that it is just starting or stopping."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(self._socket))
                lines = folders.read(self._data / "postmaster.pid").splitlines()
            except OSError:
                return False
        return len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready"

    @property
    def _socket(self) -> Path:
        return self._sockets / f".s.PGSQL.{PORT}"

    @property
    def _log(self) -> str:
        return str(self._data / "server.log")


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


def _foreign_server(data: Path) -> int | None:
    """The number of a process of PostgreSQL that works in the data folder, as every process of a server does.

    For a server without our lock: somebody started it by hand, or an older labmon did.
    """
    wanted = data.stat()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text().strip() != "postgres":
                continue
            if os.path.samestat((process / "cwd").stat(), wanted):
                return int(process.name)
        except OSError:  # it has ended, or is another account's
            continue
    return None


def _check_enter(home: Path, account: Account) -> None:
    if account and subprocess.run(["test", "-x", home], **accounts.running_as(account)).returncode:
        raise PermissionNeeded(
            f"PostgreSQL refuses to run as root, and its account {account.pw_name} may not enter {home}. "
            "Choose another place with [state] dir, or set [database] url"
        )


def running_url(state_dir: Path) -> str | None:
    """The URL of a server of this folder that runs already, else None. Makes and starts nothing.

    It is no share: the server may stop at any moment. One whose socket had to have a short name is not found:
    that lies where others may write, and `Embedded` checks it.
    """
    sockets = state_dir / "postgres" / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(sockets / f".s.PGSQL.{PORT}"))
        except OSError:
            return None
    return _url(sockets)


def _url(sockets: Path) -> str:
    return f"postgresql://labmon@/postgres?host={quote(str(sockets), safe='')}&port={PORT}"


def _socket_folder(wanted: Path, account: Account) -> Path:
    """The wanted folder, or one with a short name of the same meaning where its socket's path is too long."""
    if len(os.fsencode(wanted / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_LIMIT:
        return wanted
    name = hashlib.sha256(os.fsencode(wanted)).hexdigest()[:12]
    # Root's own TMPDIR may be closed to the account.
    return Path("/tmp" if account else tempfile.gettempdir()) / f"labmon-{os.geteuid()}-{name}"
