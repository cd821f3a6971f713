"""A connection to a fresh store, and labmon's own; certificates."""

import psycopg
import pytest
import trustme

from labmon.app.open import open_store
from labmon.config.load import load


@pytest.fixture
def connection(store_url):
    with psycopg.connect(store_url) as connection:
        yield connection


@pytest.fixture
def config(store_url):
    return load(environ={"LABMON_DATABASE_URL": store_url, "LABMON_DATABASE_CONNECT_TIMEOUT": "2"}).config


@pytest.fixture
def store(config):
    with open_store(config) as store:
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
