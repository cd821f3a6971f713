"""`labmon dashboard` as a process of its own, and browsers that are logged in to it."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from contextlib import contextmanager
from hashlib import scrypt
from pathlib import Path

import httpx
import psycopg

from tests.support.servers import free_port

LABMON = Path(sys.executable).parent / "labmon"
START_TIMEOUT = 60.0
PASSWORD = "correct horse battery"


def add_user(store_url, name, role="viewer", password=PASSWORD):
    """A user whose password is hashed with little work, since tests log in often."""
    salt = b"salt of the tests"
    found = scrypt(password.encode(), salt=salt, n=16, r=8, p=1, dklen=32)
    stored = f"scrypt$16$8$1${b64encode(salt).decode()}${b64encode(found).decode()}"
    with psycopg.connect(store_url) as connection:
        connection.execute(
            "INSERT INTO users (name, role, password) VALUES (%s, %s, %s)", [name, role, stored]
        )


class Dashboard:
    """A server on a free port of 127.0.0.1; `url` is its address, with the root path."""

    def __init__(self, store_url, *options, scheme="http", root="", **environ):
        self.store_url = store_url
        self.port = free_port()
        self.url = f"{scheme}://127.0.0.1:{self.port}{root}"
        self.verify = True
        self._folder = tempfile.TemporaryDirectory(prefix="labmon-dashboard-")
        folder = Path(self._folder.name)
        (folder / "config.toml").touch()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LABMON_", "QUEUE_"))}
        self.environ = kept | {
            "LABMON_CONFIG": str(folder / "config.toml"),
            "LABMON_STATE_DIR": str(folder / "state"),
            "LABMON_DATABASE_URL": store_url,
            "HOME": str(folder),
            **environ,
        }
        self._options = [f"--port={self.port}", *([f"--root-path={root}"] if root else []), *options]
        self._log = folder / "log"
        self.process = None

    @property
    def log(self):
        """What it has said so far."""
        return self._log.read_text()

    def start(self):
        """Return when it says that it is ready."""
        with self._log.open("ab") as out:
            begin = self._log.stat().st_size
            self.process = subprocess.Popen(
                [LABMON, "dashboard", *self._options],
                env=self.environ,
                cwd=self._folder.name,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while "dashboard at" not in self.log[begin:]:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)
        return self

    def run(self, *options, **environ):
        """Run the command to its end, which it should come to by itself."""
        return subprocess.run(
            [LABMON, "dashboard", *self._options, *options],
            env=self.environ | environ,
            cwd=self._folder.name,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def close(self):
        """End it, and remove its folder."""
        self.stop()
        self._folder.cleanup()

    def stop(self, number=signal.SIGTERM):
        """End it; returns its exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(30)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait(30)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def browser(self, **options):
        """One that is not logged in. Paths begin below the root path."""
        return httpx.Client(
            **{"base_url": self.url, "verify": self.verify, "timeout": 30, "trust_env": False} | options
        )

    @contextmanager
    def logged_in(self, name, password=PASSWORD, **options):
        """One that is, and sends the CSRF token as our pages do."""
        with self.browser(**options) as browser:
            done = browser.post("/login", data={"name": name, "password": password})
            assert done.status_code == 303, done.text
            browser.headers["X-CSRF-Token"] = browser.get("/api/v1/me").json()["csrf"]
            yield browser

    def token(self, name, role, days=90):
        """A token of a user's, as the header that sends it."""
        with self.logged_in(name) as browser:
            made = browser.post("/api/v1/tokens", json={"name": "test", "role": role, "days": days})
        assert made.status_code == 201, made.text
        return {"Authorization": f"Bearer {made.json()['token']}"}


def meta(page, name):
    """A <meta> of a page."""
    found = re.search(rf'<meta name="{name}" content="([^"]*)"', page)
    return found and found[1]
