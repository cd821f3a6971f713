"""A private pgbouncer in front of a PostgreSQL of the tests."""

import shutil

import psycopg

from tests.support.servers import NotInstalled, PostgresServer, Server


class PgBouncer(Server):
    """On 127.0.0.1, as packaged but for its addresses. `pool_mode` is session, transaction or statement."""

    account = "postgres"  # it refuses to run as root

    def __init__(self, postgres: PostgresServer, pool_mode: str, *, pool_size: int = 20) -> None:
        if shutil.which("pgbouncer", path="/usr/sbin:/usr/bin") is None:
            raise NotInstalled("pgbouncer is not installed: apt-get install pgbouncer")
        super().__init__()
        self._postgres = postgres
        lines = [
            "[databases]",
            f"* = host=127.0.0.1 port={postgres.port}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            "auth_type = trust",
            f"auth_file = {self.folder}/users",
            f"pool_mode = {pool_mode}",
            f"default_pool_size = {pool_size}",
        ]
        for name, text in (("pgbouncer.ini", lines), ("users", [f'"{postgres.USER}" "{postgres.PASSWORD}"'])):
            (self.folder / name).write_text("\n".join(text) + "\n")
            self._own(self.folder / name)

    def command(self) -> list[str]:
        return ["/usr/sbin/pgbouncer", str(self.folder / "pgbouncer.ini")]

    def url(self, database: str = "postgres") -> str:
        """Of a database behind it."""
        return f"postgresql://{self._postgres.USER}@127.0.0.1:{self.port}/{database}"

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True
