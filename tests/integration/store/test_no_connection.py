"""What the store says where it gets no connection: the server's reason, not a guess."""

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from labmon.app.open import open_store
from labmon.config.load import load
from labmon.errors import StoreUnavailable


def test_a_pool_that_gets_no_connection_says_why(postgres_server, store_url):
    name = store_url.rpartition("/")[2]
    role = f"pooled_{name}"
    with psycopg.connect(store_url, autocommit=True) as owner:
        owner.execute(SQL("CREATE ROLE {} LOGIN PASSWORD 'secret' IN ROLE labmon").format(Identifier(role)))
        url = f"postgresql://{role}:secret@127.0.0.1:{postgres_server.port}/{name}"
        config = load(environ={"LABMON_DATABASE_URL": url, "LABMON_DATABASE_CONNECT_TIMEOUT": "2"}).config
        with open_store(config) as store:
            owner.execute(SQL("ALTER ROLE {} CONNECTION LIMIT 0").format(Identifier(role)))
            with pytest.raises(StoreUnavailable) as raised, store.transaction():
                pass
        assert "too many connections for role" in str(raised.value)
        assert "CONNECTION LIMIT" in str(raised.value) and "running?" not in str(raised.value)
        owner.execute(SQL("DROP ROLE {}").format(Identifier(role)))
