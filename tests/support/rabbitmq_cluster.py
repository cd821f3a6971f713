"""Three RabbitMQ nodes on one machine that are one cluster."""

from contextlib import ExitStack
from typing import Self

from tests.support.rabbitmq_server import RabbitServer
from tests.support.servers import Server


class Joined(RabbitServer):
    """A node that joins another's cluster at its first start, and uses that one's epmd and cookie."""

    def __init__(self, seed: RabbitServer) -> None:
        super().__init__(
            settings={
                "cluster_formation.peer_discovery_backend": "classic_config",
                "cluster_formation.classic_config.nodes.1": seed.node,
            }
        )
        self._epmd_port = seed._epmd_port
        cookie = self.folder / ".erlang.cookie"
        cookie.chmod(0o600)
        self._write(".erlang.cookie", (seed.folder / ".erlang.cookie").read_text(), mode=0o400)

    def start(self) -> Self:
        Server.start(self)  # without an epmd of its own
        return self


class RabbitCluster:
    """As `Server`, where the tests need it: `kill` is for the node that leads a queue."""

    def __init__(self) -> None:
        seed = RabbitServer()
        self.nodes = [seed, Joined(seed), Joined(seed)]
        self._stack = ExitStack()

    @property
    def hosts(self) -> str:
        """As `[queue] host` takes several."""
        return ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def leader(self, queue: str) -> RabbitServer:
        """The node that leads this quorum queue."""
        name = self.nodes[0].api("GET", f"/queues/%2F/{queue}")["leader"]
        return next(node for node in self.nodes if node.node == name)

    def members(self, queue: str) -> int:
        """How many nodes hold the queue."""
        return len(self.nodes[0].api("GET", f"/queues/%2F/{queue}")["members"])

    def __enter__(self) -> Self:
        for node in self.nodes:
            self._stack.enter_context(node)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
