"""A campus on each broker, with servers of its own that sync to disk: they will be killed."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.chaos.harness import Campus
from tests.conftest import started
from tests.rabbitmq_cluster import RabbitCluster
from tests.rabbitmq_server import RabbitServer
from tests.redis_server import RedisServer
from tests.servers import PostgresServer


def environ_of(server):
    """What tells labmon where this broker is."""
    match server:
        case RedisServer():
            return {
                "QUEUE_TYPE": "redis",
                "QUEUE_HOST": "127.0.0.1",
                "QUEUE_PORT": str(server.port),
                "QUEUE_PASSWORD": server.PASSWORD,
            }
        case RabbitServer():
            return {"QUEUE_TYPE": "rabbitmq", "QUEUE_HOST": "127.0.0.1", "QUEUE_PORT": str(server.port)}
        case RabbitCluster():
            return {"QUEUE_TYPE": "rabbitmq", "QUEUE_HOST": server.hosts}
        case _:
            return {"QUEUE_TYPE": "postgres"}


KINDS = {"redis": RedisServer, "rabbitmq": RabbitServer}


@pytest.fixture
def store():
    yield from started(lambda: PostgresServer(fsync=True))


@pytest.fixture(params=["postgres", *KINDS])
def campus(request, store):
    if request.param == "postgres":
        yield from _campus(store, store)
    else:
        for broker in started(KINDS[request.param]):
            yield from _campus(store, broker)


@pytest.fixture
def postgres_campus(store):
    yield from _campus(store, store)


@pytest.fixture
def rabbitmq_campus(store):
    for broker in started(RabbitServer):
        yield from _campus(store, broker)


@pytest.fixture
def cluster_campus(store):
    for cluster in started(RabbitCluster):
        yield from _campus(store, cluster)


def _campus(store, broker):
    folder = Path(tempfile.mkdtemp(prefix="labmon-chaos-", dir="/tmp"))
    folder.chmod(0o711)
    (folder / "config.toml").touch()
    campus = Campus(folder, store, broker, environ_of(broker))
    try:
        yield campus
    finally:
        campus.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def outcome():
    """Collects the rows of the table, and prints it at the end."""
    rows: list[str] = []
    yield rows.append
    print("\n| what happens | confirmed | lost | good ones buried | delayed by |\n|---|---|---|---|---|")
    print("\n".join(sorted(rows)))
