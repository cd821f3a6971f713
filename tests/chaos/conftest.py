"""A campus on each broker. Its servers sync to disk and will be killed; they serve one test after the
other, each of which has a database, and a virtual host, of its own."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.chaos.harness import Campus, prepare_store
from tests.conftest import started
from tests.support.rabbitmq_cluster import RabbitCluster
from tests.support.rabbitmq_server import RabbitServer
from tests.support.redis_server import RedisServer
from tests.support.servers import PostgresServer, Server


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


@pytest.fixture(scope="module")
def store_server():
    yield from started(lambda: PostgresServer(fsync=True))


@pytest.fixture(scope="module")
def store_template(store_server):
    """The name of a database with the schema and the machines."""
    with store_server.database() as name:
        prepare_store(store_server.url(name))
        yield name


@pytest.fixture
def store(store_server, store_template):
    """The server, and the name of a database of the test's own."""
    with store_server.database(store_template) as name:
        yield store_server, name


@pytest.fixture(scope="module")
def redis_broker():
    yield from started(KINDS["redis"])


@pytest.fixture(scope="module")
def rabbitmq_broker():
    yield from started(KINDS["rabbitmq"])


@pytest.fixture
def redis_campus(store, redis_broker):
    redis_broker.cli("FLUSHALL")
    yield from _campus(store, redis_broker)


@pytest.fixture
def rabbitmq_campus(store, rabbitmq_broker):
    with rabbitmq_broker.vhost() as vhost:
        yield from _campus(store, rabbitmq_broker, LABMON_QUEUE_VHOST=vhost)


@pytest.fixture
def postgres_campus(store):
    yield from _campus(store, store[0])


@pytest.fixture(params=["postgres", *KINDS])
def campus(request):
    return request.getfixturevalue(f"{request.param}_campus")


@pytest.fixture
def cluster_campus(store):
    for cluster in started(RabbitCluster):
        yield from _campus(store, cluster)


def _campus(store, broker, **environ):
    """With servers that run again at the end, whatever the test did to them."""
    folder = Path(tempfile.mkdtemp(prefix="labmon-chaos-", dir="/tmp"))
    folder.chmod(0o711)
    (folder / "config.toml").touch()
    server, database = store
    campus = Campus(folder, server, database, broker, environ_of(broker) | environ)
    try:
        yield campus
    finally:
        campus.close()
        for one in (server, broker):
            if isinstance(one, Server) and not one.runs:
                one.start()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def outcome():
    """Collects the rows of the table, and prints it at the end."""
    rows: list[str] = []
    yield rows.append
    print("\n| what happens | confirmed | lost | good ones buried | delayed by |\n|---|---|---|---|---|")
    print("\n".join(sorted(rows)))
