"""A store of its own for every test: cloned from a template that has the schema."""

import psycopg
import pytest

from labmon.settings import load
from labmon.store.migrate import migrate
from labmon.store.pool import Store


@pytest.fixture(scope="session")
def schema_template(postgres_server):
    """The name of a database with labmon's schema and nothing in it."""
    with postgres_server.database() as name:
        with psycopg.connect(postgres_server.socket_conninfo(name)) as connection:
            migrate(connection)
        yield name


@pytest.fixture
def store_url(postgres_server, schema_template):
    with postgres_server.database(schema_template) as name:
        yield postgres_server.url(name)


@pytest.fixture
def connection(store_url):
    with psycopg.connect(store_url) as connection:
        yield connection


@pytest.fixture
def config(store_url):
    return load(environ={"LABMON_DATABASE_URL": store_url, "LABMON_DATABASE_CONNECT_TIMEOUT": "2"}).config


@pytest.fixture
def store(config):
    with Store(config) as store:
        yield store
