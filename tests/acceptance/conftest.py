"""The installed command, as a user runs it, in an environment that holds nothing of the tester's."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

LABMON = str(Path(sys.executable).parent / "labmon")


class Started(subprocess.Popen):
    """A process that ends with a failed test: the block's end would wait for it without a bound."""

    def __exit__(self, kind, error, trace):
        if error is not None:
            self.kill()
        return super().__exit__(kind, error, trace)


@dataclass
class Lab:
    """A place to run `labmon` in: its own state folder and an empty configuration file."""

    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    warm: subprocess.Popen | None = None  #: runs the commands in place of the installed one

    @property
    def env(self):
        foreign = ("LABMON_", "QUEUE_", "DISCOVERY_QUEUE", "METRICS_QUEUE", "ALERT_QUEUE")
        ours = {
            "LABMON_CONFIG": str(self.folder / "config.toml"),
            "LABMON_STATE_DIR": str(self.folder / "state"),
            "HOME": str(self.folder),
            "COLUMNS": "200",
        }
        return {k: v for k, v in os.environ.items() if not k.startswith(foreign)} | ours | self.environ

    def run(self, *arguments, code=0, timeout=120, **environ):
        """Run `labmon`; assert its exit code, unless that is None, and that there is no traceback."""
        command = list(map(str, arguments))
        if self.warm:
            done = self._ask(command, self.env | environ)
        else:
            done = subprocess.run(
                [LABMON, *command],
                env=self.env | environ,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        assert "Traceback" not in done.stderr, done.stderr
        assert code is None or done.returncode == code, (
            f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def _ask(self, command, environ):
        request = {"arguments": command, "environ": environ, "folder": str(self.folder)}
        print(json.dumps(request), file=self.warm.stdin, flush=True)
        answer = json.loads(self.warm.stdout.readline())
        return subprocess.CompletedProcess(command, answer["code"], answer["out"], answer["err"])

    def start(self, *arguments, **options):
        """Start `labmon` and return at once."""
        return Started(
            [LABMON, *map(str, arguments)],
            env=self.env,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )


@contextmanager
def temporary_lab():
    """One for as long as the block lasts."""
    # Not tmp_path: when the tests run as root, the embedded database's account must be able to enter.
    folder = Path(tempfile.mkdtemp(prefix="labmon-test-", dir="/tmp"))
    folder.chmod(0o711)
    (folder / "config.toml").touch()
    try:
        yield Lab(folder)
    finally:
        shutil.rmtree(folder)


@contextmanager
def no_demo_left(seconds=60):
    """Fails when a folder of `labmon demo` that came in the block stays, or a process with its name.

    Those of a test beside this one come as well, but go with it.
    """

    def there():
        running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        return set(re.findall(r"labmon-demo-\w+", "\n".join([running, *os.listdir("/tmp")])))

    before = there()
    yield
    left, until = there() - before, time.monotonic() + seconds
    while left := left & there():
        assert time.monotonic() < until, left
        time.sleep(0.1)


@pytest.fixture
def lab():
    with temporary_lab() as lab:
        yield lab


@pytest.fixture(scope="session")
def warm_labmon():
    """A process that has loaded labmon already: for what commands do, not for how they start."""
    command = [sys.executable, str(Path(__file__).with_name("warm.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def stored_lab(request, lab):
    """A lab with a store on a server; where the test is `either_store`, also once with the embedded one."""
    if getattr(request, "param", "server") == "server":
        lab.environ["LABMON_DATABASE_URL"] = request.getfixturevalue("store_url")
    return lab


either_store = pytest.mark.parametrize("stored_lab", ["embedded", "server"], indirect=True)


KINDS = ["postgres", "redis", "rabbitmq"]


@pytest.fixture(params=KINDS)
def broker(request, lab, store_url):
    """A lab whose store is one server and whose broker is another, which may be stopped."""
    server = request.getfixturevalue(f"own_{request.param}_server")
    _wire(lab, store_url, request.param, server)
    return server


@pytest.fixture(params=KINDS)
def shared_broker(request, lab, store_url):
    """The same, with a clean corner of a broker that other tests use too."""
    server = request.getfixturevalue(f"{request.param}_server")
    _wire(lab, store_url, request.param, server)
    match request.param:
        case "postgres":
            with server.database() as lab.environ["LABMON_QUEUE_DATABASE"]:
                yield server
        case "rabbitmq":
            with server.vhost() as lab.environ["LABMON_QUEUE_VHOST"]:
                yield server
        case "redis":
            server.cli("FLUSHALL")
            yield server


def _wire(lab, store_url, kind, server):
    """Set by the names of the scripts; machine 42 is in the store."""
    with psycopg.connect(store_url) as connection:
        connection.execute("INSERT INTO departments (dept_id) VALUES (1)")
        connection.execute("INSERT INTO systems (system_id, dept_id) VALUES (42, 1)")
    user, password = {
        "postgres": lambda: (server.USER, server.PASSWORD),
        "redis": lambda: ("", server.PASSWORD),
        "rabbitmq": lambda: ("guest", "guest"),
    }[kind]()
    lab.environ |= {
        "LABMON_DATABASE_URL": store_url,
        "QUEUE_TYPE": kind,
        "QUEUE_HOST": "127.0.0.1",
        "QUEUE_PORT": str(server.port),
        "QUEUE_USER": user,
        "QUEUE_PASSWORD": password,
        "LABMON_QUEUE_DATABASE": "postgres" if kind == "postgres" else "",
    }
