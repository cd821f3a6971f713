"""A private Alertmanager on free ports of this machine, which tells a webhook what it is sent."""

import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import suppress

from tests.support.servers import NotInstalled, free_port


class Alertmanager:
    """Use it by `with`, in a folder of its own; `kill` and `start` as often as needed."""

    def __init__(self, folder, receiver_url):
        self.program = shutil.which("prometheus-alertmanager")
        if self.program is None:
            raise NotInstalled("prometheus-alertmanager is not installed")
        self.folder = folder
        self.port = free_port()
        self._process = None
        (folder / "alertmanager.yml").write_text(
            "global: {resolve_timeout: 5m}\n"
            "route: {receiver: hook, group_by: [alertname, instance], group_wait: 100ms, "
            "group_interval: 200ms, repeat_interval: 1h}\n"
            f"receivers: [{{name: hook, webhook_configs: [{{url: {receiver_url}, send_resolved: true}}]}}]\n"
        )

    @property
    def url(self):
        """For a target of labmon."""
        return f"alertmanager+http://127.0.0.1:{self.port}"

    def start(self):
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    self.program,
                    f"--config.file={self.folder}/alertmanager.yml",
                    f"--storage.path={self.folder}/data",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--cluster.listen-address=",
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 30
        while True:
            with suppress(OSError):
                self.ask("/-/ready", document=False)
                return
            assert self._process.poll() is None and time.monotonic() < deadline, self.log
            time.sleep(0.05)

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def log(self):
        return (self.folder / "log").read_text()

    def ask(self, path, *, document=True):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return json.load(answer) if document else answer.read()

    def alerts(self):
        """Those that it takes to be firing."""
        return self.ask("/api/v2/alerts")

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()
