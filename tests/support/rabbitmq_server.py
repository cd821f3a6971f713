"""A private RabbitMQ for the tests: its own node, cookie, ports and epmd, all on loopback."""

import base64
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

from tests.support.servers import STOP_TIMEOUT, NotInstalled, Server, free_port

LOOPBACK = "-kernel inet_dist_use_interface {127,0,0,1}"

TICK = "-rabbit quorum_tick_interval 500"
"""Milliseconds after which a quorum queue tells its figures: else 5,000."""


class RabbitServer(Server):
    """RabbitMQ with its management API, as guest/guest, on 127.0.0.1.

    `restart`, and `kill` followed by `start`, keep ports and data. Each `vhost` is a clean server to its
    user.
    """

    account = "rabbitmq"

    def __init__(self, *, settings: dict[str, str] | None = None, certificates: Path | None = None) -> None:
        """With a folder of ca.pem, server.pem and server.key also by TLS, on `tls_port`."""
        self.bin = self.programs()
        super().__init__()
        self.management_port = free_port()
        self._dist_port, self._epmd_port = free_port(), free_port()
        self._epmd: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self.node = f"labmon-{self.port}@localhost"
        self.tls_port = free_port()
        self._settings = {
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            "management.tcp.ip": "127.0.0.1",
            "management.tcp.port": str(self.management_port),
            "log.console": "true",
            "log.console.level": "warning",
            "log.file": "false",
            "disk_free_limit.absolute": "50MB",
            "collect_statistics_interval": "500",
            **(settings or {}),
        }
        if certificates is not None:
            self._settings |= {
                "listeners.ssl.1": f"127.0.0.1:{self.tls_port}",
                "ssl_options.cacertfile": f"{self.folder}/ca.pem",
                "ssl_options.certfile": f"{self.folder}/server.pem",
                "ssl_options.keyfile": f"{self.folder}/server.key",
            }
            for name in ("ca.pem", "server.pem", "server.key"):
                self._write(name, (certificates / name).read_text())
        self._write("rabbitmq.conf", "".join(f"{key} = {value}\n" for key, value in self._settings.items()))
        self._write("enabled_plugins", "[rabbitmq_management].\n")
        self._write(".erlang.cookie", f"labmon{self.port}", mode=0o400)

    @staticmethod
    def programs() -> Path:
        """The folder of rabbitmq-server and rabbitmqctl themselves. Raises NotInstalled.

        Not those in /usr/sbin: they change folder and account, and write to /var/log.
        """
        for folder in sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"), reverse=True):
            if (folder / "rabbitmq-server").exists() and shutil.which("epmd"):
                return folder
        raise NotInstalled("RabbitMQ is not installed: apt-get install rabbitmq-server")

    def command(self) -> list[str]:
        return ["env", *self._environment(), str(self.bin / "rabbitmq-server")]

    def start(self) -> "RabbitServer":
        if self._epmd is None:
            # An Erlang node starts one that outlives it, unless there is one on its port already.
            self._epmd = subprocess.Popen(
                ["epmd", "-port", str(self._epmd_port), "-address", "127.0.0.1", "-relaxed_command_check"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=self.folder,
                **self._identity(),
            )
        super().start()
        return self

    def stop(self) -> None:
        """It closes all connections and stores at once; then its management plugin does nothing for 5 s."""
        if self.runs:
            self._process.terminate()
            deadline = time.monotonic() + STOP_TIMEOUT
            while self._listens() and time.monotonic() < deadline:
                time.sleep(0.02)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
        self.kill()

    def reset(self) -> None:
        """Running, as after its first start: guest alone, and nothing in the one virtual host."""
        if not self.runs:
            self.start()
        for user in self.api("GET", "users"):
            if user["name"] != "guest":
                self.api("DELETE", f"users/{quote(user['name'], '')}")
        for vhost in self.api("GET", "vhosts"):
            self.api("DELETE", f"vhosts/{quote(vhost['name'], '')}")
        self._make_vhost("/")

    def close(self) -> None:
        self.kill()  # it takes six seconds to stop, and nobody wants its data
        if self._epmd is not None:
            self._epmd.terminate()
            self._epmd.wait()
            self._epmd = None
        super().close()

    def answers(self) -> bool:
        # The AMQP port is opened last of all, and the management's just before it.
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as probe:
                probe.settimeout(5)
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                if not probe.recv(1):
                    return False
            return self.api("GET", "overview")["node"] == self.node
        except (OSError, RuntimeError):
            return False

    def ctl(self, *command: str) -> str:
        """What `rabbitmqctl` says. Takes a second."""
        done = subprocess.run(
            [
                "env",
                *self._environment(),
                str(self.bin / "rabbitmqctl"),
                "--quiet",
                "-n",
                self.node,
                *command,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.folder,
            **self._identity(),
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def api(self, method: str, path: str, body: object = None) -> object:
        """The management API's answer, decoded. RuntimeError for a refusal."""
        connection = HTTPConnection("127.0.0.1", self.management_port, timeout=30)
        try:
            login = base64.b64encode(b"guest:guest").decode()
            headers = {"Authorization": f"Basic {login}", "Content-Type": "application/json"}
            connection.request(
                method, f"/api/{path.lstrip('/')}", None if body is None else json.dumps(body), headers
            )
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {text!r}")
            return json.loads(text) if text else None
        finally:
            connection.close()

    @contextmanager
    def vhost(self) -> Iterator[str]:
        """The name of a fresh virtual host, removed afterwards with all that is in it."""
        name = f"test {next(self._numbers)}"
        self._make_vhost(name)
        try:
            yield name
        finally:
            if not self.runs:  # the test has stopped it
                self.start()
            self.api("DELETE", f"vhosts/{quote(name)}")

    def _make_vhost(self, name: str) -> None:
        quoted = quote(name, "")
        self.api("PUT", f"vhosts/{quoted}", {})
        self.api("PUT", f"permissions/{quoted}/guest", {"configure": ".*", "write": ".*", "read": ".*"})

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def hang_up(self, vhost: str, name: str) -> int:
        """Close the connections whose name begins so, as an administrator can. Returns how many."""
        close = 'rabbit_networking:close_connection(Pid, "Closed by the test")'
        return len(self._each_connection(vhost, name, close))

    def suspend(self, vhost: str, name: str) -> list[str]:
        """Read no more from the connections whose name begins so. Returns their processes."""
        return self._each_connection(vhost, name, "sys:suspend(Pid)")

    def kill_processes(self, pids: list[str]) -> None:
        """End what `suspend` returned, as a crash would."""
        self.ctl("eval", f"[exit(list_to_pid(Pid), kill) || Pid <- {json.dumps(pids)}].")

    def _each_connection(self, vhost: str, name: str, action: str) -> list[str]:
        said = self.ctl(
            "eval",
            f"""
            [begin {action}, list_to_binary(pid_to_list(Pid)) end
             || Pid <- rabbit_networking:connections(),
                [{{vhost, Vhost}}, {{client_properties, Properties}}] <-
                    [rabbit_networking:connection_info(Pid, [vhost, client_properties])],
                Vhost =:= <<"{vhost}">>,
                {{<<"connection_name">>, longstr, Name}} <- Properties,
                string:prefix(Name, <<"{name}">>) =/= nomatch].
            """,
        )
        return re.findall(r"<[0-9.]+>", said)

    def _environment(self) -> list[str]:
        settings = {
            "PATH": os.environ["PATH"],
            "HOME": self.folder,
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": self.folder / "rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": self.folder / "advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": self.folder / "enabled_plugins",
            "RABBITMQ_MNESIA_BASE": self.folder / "data",
            "RABBITMQ_LOG_BASE": self.folder,
            "RABBITMQ_PID_FILE": self.folder / "pid",
            "RABBITMQ_GENERATED_CONFIG_DIR": self.folder / "generated",
            "RABBITMQ_DIST_PORT": self._dist_port,
            "RABBITMQ_ALLOW_INPUT": "true",  # makes the script become the server, so that its pid is ours
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{LOOPBACK} {TICK} -noinput",
            "RABBITMQ_CTL_ERL_ARGS": LOOPBACK,
            "ERL_EPMD_PORT": self._epmd_port,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        return ["-i", *(f"{name}={value}" for name, value in settings.items())]

    def _write(self, name: str, text: str, mode: int = 0o600) -> None:
        file = self.folder / name
        file.write_text(text)
        file.chmod(mode)
        self._own(file)
