"""A store of its own for every test, cloned from a template that has the schema; certificates."""

import psycopg
import pytest
import trustme

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


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A folder with a CA, ca.pem, and its certificate for 127.0.0.1, server.pem and server.key."""
    folder = tmp_path_factory.mktemp("tls")
    folder.chmod(0o755)  # for servers that run under another account
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
    issued.private_key_pem.write_to_path(str(folder / "server.key"))
    return folder
