"""A private Redis server: see `tests.support.servers`."""

import os
import shutil
import subprocess
from collections.abc import Mapping

from tests.support.servers import NotInstalled, Server


class RedisServer(Server):
    """Redis on 127.0.0.1, by password, or by TLS with the given directives. What it has answered is on disk.

    `settings` are directives of redis.conf and may be changed between two starts; `users` are ACL rules by
    account.
    """

    PASSWORD = "correct horse"

    def __init__(
        self,
        *,
        settings: Mapping[str, str] | None = None,
        users: Mapping[str, str] | None = None,
        tls: Mapping[str, str] | None = None,
    ) -> None:
        self.programs()
        super().__init__()
        ports = {"port": "0", "tls-port": str(self.port)} if tls else {"port": str(self.port)}
        self.settings = {
            "bind": "127.0.0.1",
            **ports,
            "unixsocket": str(self.folder / "socket"),
            "dir": str(self.folder),
            "save": '""',
            "appendonly": "yes",
            "appendfsync": "always",
            "requirepass": f'"{self.PASSWORD}"',
            **(tls or {}),
            **(settings or {}),
        }
        self._users = dict(users or {})

    @staticmethod
    def programs() -> None:
        """Raises NotInstalled."""
        if shutil.which("redis-server") is None or shutil.which("redis-cli") is None:
            raise NotInstalled("Redis is not installed: apt-get install redis-server")

    def command(self) -> list[str]:
        lines = [f"{name} {value}" for name, value in self.settings.items()]
        lines += [f"user {name} {rule}" for name, rule in self._users.items()]
        (self.folder / "redis.conf").write_text("\n".join(lines) + "\n")
        return ["redis-server", str(self.folder / "redis.conf")]

    def answers(self) -> bool:
        try:
            return self.cli("PING") == "PONG"
        except subprocess.CalledProcessError:
            return False

    def cli(self, *command: str) -> str:
        """What `redis-cli` prints for a command, by the default account over the socket in the folder."""
        return subprocess.run(
            ["redis-cli", "-e", "-s", str(self.folder / "socket"), *command],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "REDISCLI_AUTH": self.PASSWORD},
        ).stdout.rstrip("\n")
