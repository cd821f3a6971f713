"""Private servers for the tests: free ports, temporary folders, the installed binaries, stopped by pid.

Every server is a `Server`: start, stop, restart, kill, pid. A new one says which program it runs, how to
prepare its folder, and how to tell that it answers.
"""

import atexit
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import IO, ClassVar, Self

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

START_TIMEOUT = 240.0  # a limit for a hung server, not a bound on anything
STOP_TIMEOUT = 30.0
PORTS = (10_000, 32_000)
"""Below those that Linux gives to connections (ip_local_port_range), and above those of known services."""
PARTS = 8
"""Of these ports, one for each process that tests run in."""


class NotInstalled(Exception):
    """The server's program is not on this machine. The text names the Debian package."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment.

    Not one that the kernel hands out: a server that is stopped and started again would find it taken by
    some connection, or by the client that knocks there for it, since a connection may be made to itself.
    """
    # Tests side by side have a part of them each: a server may take some seconds until it listens.
    first, end = PORTS
    part = (end - first) // PARTS
    first += part * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % PARTS)
    for _ in range(1000):
        port = random.SystemRandom().randrange(first, first + part)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port of 127.0.0.1 is free")


class Server(ABC):
    """One private server in a folder of its own, which `close` removes.

    It keeps its port and its data over `restart` and over `kill` followed by `start`.
    """

    account: str | None = None  #: run as this account when the tests run as root

    def __init__(self) -> None:
        name = type(self).__name__.lower()
        # Not pytest's tmp_path: only root may enter that one, and some servers refuse to be root.
        self.folder = Path(tempfile.mkdtemp(prefix=f"labmon-{name}-", dir="/tmp"))
        self._own(self.folder)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The program in the foreground, and its arguments."""

    @abstractmethod
    def answers(self) -> bool:
        """True when it takes requests."""

    stop_signal = signal.SIGTERM

    @property
    def pid(self) -> int:
        """The process that `start` made."""
        assert self._process is not None, f"{type(self).__name__} has not been started"
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Started, and neither stopped nor killed."""
        return self._process is not None

    @property
    def log(self) -> str:
        """What it has said so far."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> Self:
        """Return when it answers."""
        deadline = time.monotonic() + START_TIMEOUT
        self._spawn()
        while not self.answers():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.command()[0]} does not answer. It said:\n{self.log}")
            assert self._process is not None
            if self._process.poll() is not None:
                # After a kill, the children of the last one may hold its memory and port for a moment.
                if time.monotonic() > deadline - START_TIMEOUT + 10:
                    raise RuntimeError(f"{self.command()[0]} does not start. It said:\n{self.log}")
                time.sleep(0.2)
                self._spawn()
            time.sleep(0.02)
        return self

    def stop(self) -> None:
        """Ask it to end, and wait. No effect when it does not run."""
        self._end(self.stop_signal)

    def kill(self) -> None:
        """SIGKILL: it has no time to write anything. No effect when it does not run."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop it and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spawn(self) -> None:
        if self._log is None:
            self._log = (self.folder / "log").open("ab")
        self._process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            cwd=self.folder,
            **self._identity(),
        )

    def _end(self, signum: int) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signum)
            try:
                self._process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_TIMEOUT)
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def _identity(self) -> dict:
        if self.account is None or os.geteuid() != 0:
            return {}
        return {"user": self.account, "group": self.account, "extra_groups": []}

    def _own(self, path: Path) -> None:
        if self._identity():
            shutil.chown(path, self.account, self.account)

    def run(self, *command: str | Path) -> None:
        """Run a program of the server to its end, as the server's account."""
        subprocess.run(
            command,
            check=True,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            **self._identity(),
        )


class PostgresServer(Server):
    """PostgreSQL on 127.0.0.1 (by password) and on a socket in its folder (for anyone).

    `POSTGRES_BIN` names the folder of another version's programs than the newest in /usr/lib/postgresql.
    """

    account = "postgres"  # postgres refuses to run as root
    stop_signal = signal.SIGINT  # "fast": end the sessions, do not wait for them
    USER = "labmon"
    PASSWORD = "correct horse"
    _made: ClassVar[dict[tuple[Path, str, str], Path]] = {}
    """A cluster that has never run, by the folder of its programs, its account and password."""

    def __init__(self, *, fsync: bool = False, settings: dict[str, str] | None = None) -> None:
        self.bin = self.programs()
        super().__init__()
        self.data = self.folder / "data"
        self._numbers = count(1)
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "port": str(self.port),
            "max_connections": "200",
            "fsync": "on" if fsync else "off",
            "full_page_writes": "on" if fsync else "off",
            **(settings or {}),
        }
        self._initdb()

    @staticmethod
    def programs() -> Path:
        """The folder of initdb and postgres. Raises NotInstalled."""
        found = [Path(os.environ["POSTGRES_BIN"])] if "POSTGRES_BIN" in os.environ else []
        found += sorted(
            Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True
        )
        for folder in found:
            if (folder / "postgres").exists():
                return folder
        raise NotInstalled("PostgreSQL is not installed: apt-get install postgresql")

    def _initdb(self) -> None:
        """A copy of the first one's, which costs a third of making it."""
        key = (self.bin, self.USER, self.PASSWORD)
        if key not in self._made:
            folder = Path(tempfile.mkdtemp(prefix="labmon-initdb-", dir="/tmp"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            self._own(folder)
            password = folder / "password"
            password.write_text(self.PASSWORD)
            self._own(password)
            self.run(
                *(self.bin / "initdb", "-D", folder / "data", "-U", self.USER, "--pwfile", password),
                *("--no-sync", "--auth-local=trust", "--auth-host=scram-sha-256"),
                *("--encoding=UTF8", "--locale=C.UTF-8"),
            )
            self._made[key] = folder / "data"
        self.run("cp", "-a", self._made[key], self.data)

    def command(self) -> list[str]:
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.bin / "postgres"), "-D", str(self.data), *options]

    def answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def url(self, database: str = "postgres", *, password: str | None = None) -> str:
        """The database over TCP."""
        secret = (self.PASSWORD if password is None else password).replace(" ", "%20")
        return f"postgresql://{self.USER}:{secret}@127.0.0.1:{self.port}/{database}"

    def socket_url(self, database: str = "postgres") -> str:
        """The same over the socket, a file, which a network namespace does not keep from anyone."""
        return f"postgresql://{self.USER}@/{database}?host={self.folder}&port={self.port}"

    def socket_conninfo(self, database: str = "postgres") -> str:
        """The database over the socket, where nobody is asked for a password."""
        return make_conninfo(host=str(self.folder), port=self.port, user=self.USER, dbname=database)

    def execute(self, statement: str | sql.Composed, database: str = "postgres") -> None:
        """Run one statement as the superuser, in a session of its own."""
        with psycopg.connect(self.socket_conninfo(database), autocommit=True, connect_timeout=5) as session:
            session.execute(statement)

    @contextmanager
    def database(self, template: str = "template1") -> Iterator[str]:
        """The name of a fresh database, a clone of the template; dropped afterwards, with its sessions."""
        name = f"test_{next(self._numbers)}"
        names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
        self.execute(sql.SQL("CREATE DATABASE {name} TEMPLATE {template}").format(**names))
        try:
            yield name
        finally:
            if not self.runs:  # the test has stopped it
                self.start()
            self.execute(sql.SQL("DROP DATABASE IF EXISTS {name} WITH (FORCE)").format(**names))
