"""Fixtures for every kind of test: private servers, and fresh databases on them."""

from collections.abc import Iterator

import hypothesis
import psycopg
import pytest

from labmon.store.migrate import migrate
from tests.support.absent import absent
from tests.support.clock import Stalled
from tests.support.rabbitmq_server import RabbitServer
from tests.support.redis_server import RedisServer
from tests.support.servers import NotInstalled, PostgresServer

# An example takes longer when another process has the core: that is no failure.
hypothesis.settings.register_profile("labmon", deadline=None)
hypothesis.settings.load_profile("labmon")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(difference, ...): only on brokers of which these are true")


@pytest.fixture
def stalled() -> Stalled:
    """stalled() -> what a bound of seconds may be widened by: the time in which processes had to wait."""
    return Stalled()


def started(kind):
    """A server for as long as the fixture lives. Not installed: skip at the desk, fail where CI=true."""
    try:
        server = kind()
    except NotInstalled as error:
        absent(error)
    with server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for all tests that leave it as it was; its databases come from `postgres_url`."""
    yield from started(PostgresServer)


@pytest.fixture
def own_postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL to stop, kill and misconfigure."""
    yield from started(PostgresServer)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One Redis for all tests that leave its configuration alone. Who uses it empties it first."""
    yield from started(RedisServer)


@pytest.fixture
def own_redis_server() -> Iterator[RedisServer]:
    """A Redis to stop, kill and misconfigure."""
    yield from started(RedisServer)


@pytest.fixture(scope="session")
def rabbitmq_server() -> Iterator[RabbitServer]:
    """One RabbitMQ for all tests that leave its settings alone; each takes a virtual host of its own."""
    yield from started(RabbitServer)


@pytest.fixture(scope="session")
def spare_rabbitmq_server() -> Iterator[RabbitServer]:
    """For one test after the other, since it takes seconds to start."""
    yield from started(RabbitServer)


@pytest.fixture
def own_rabbitmq_server(spare_rabbitmq_server: RabbitServer) -> RabbitServer:
    """A RabbitMQ to stop, kill and fill."""
    spare_rabbitmq_server.reset()
    return spare_rabbitmq_server


@pytest.fixture(scope="session")
def schema_template(postgres_server: PostgresServer) -> Iterator[str]:
    """The name of a database with labmon's schema and nothing in it, of which tests get clones."""
    with postgres_server.database() as name:
        with psycopg.connect(postgres_server.socket_conninfo(name)) as connection:
            migrate(connection)
        yield name


@pytest.fixture
def store_url(postgres_server: PostgresServer, schema_template: str) -> Iterator[str]:
    """The URL of a fresh database that has the schema."""
    with postgres_server.database(schema_template) as name:
        yield postgres_server.url(name)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a fresh, empty database."""
    with postgres_server.database() as name:
        yield postgres_server.url(name)
