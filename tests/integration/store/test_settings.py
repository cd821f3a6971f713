"""Settings of server, database and role that labmon does not inherit."""

import psycopg
import pytest
from psycopg import sql

from labmon import pg
from labmon.app.open import open_store
from labmon.config.load import load
from labmon.errors import StoreRefused
from labmon.store.migrate import migrate

HOSTILE = {
    "synchronous_commit": "off",
    "standard_conforming_strings": "off",
    "client_encoding": "LATIN1",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Asia/Tokyo",
    "bytea_output": "escape",
    "extra_float_digits": "-10",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "row_security": "on",
    "statement_timeout": "1s",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "1s",
    "jit": "on",
    "transform_null_equals": "on",
}


@pytest.fixture
def hostile(postgres_server, store_url):
    """A database with the schema, every setting of which is another than labmon takes for granted."""
    name = store_url.rpartition("/")[2]
    for setting, value in HOSTILE.items():
        statement = sql.SQL("ALTER DATABASE {} SET {} = {}")
        postgres_server.execute(statement.format(sql.Identifier(name), sql.Identifier(setting), value))
    return store_url


def settings(connection):
    return dict(connection.execute("SELECT name, setting FROM pg_settings").fetchall())


# findings A1, F5
def test_no_setting_of_the_database_reaches_a_session(hostile):
    with psycopg.connect(hostile) as bare:
        assert settings(bare)["synchronous_commit"] == "off"
    store = open_store(load(environ={}, flags={"database.url": hostile}).config)
    with store, store.transaction() as pooled, store.session("test") as alone:
        for connection in (pooled, alone):
            found = settings(connection)
            assert {name: found[name] for name in HOSTILE if found[name] == HOSTILE[name]} == {}
            assert found["synchronous_commit"] == "on"
            assert [found[name] for name in pg.SESSION if name in found] == [
                value for name, value in pg.SESSION.items() if name in found
            ]


# findings A1
def test_whoever_waits_for_a_replica_goes_on_doing_so(postgres_server, store_url):
    name = store_url.rpartition("/")[2]
    postgres_server.execute(
        sql.SQL("ALTER DATABASE {} SET synchronous_commit = remote_apply").format(sql.Identifier(name))
    )
    with pg.connect(store_url, name="test") as connection:
        assert settings(connection)["synchronous_commit"] == "remote_apply"


# findings A1
@pytest.mark.parametrize(
    ("setting", "value"),
    [("standard_conforming_strings", "off"), ("statement_timeout", "1ms"), ("check_function_bodies", "off")],
)
def test_migrate_succeeds_whatever_the_database_says(postgres_server, setting, value):
    with postgres_server.database() as name:
        postgres_server.execute(
            sql.SQL("ALTER DATABASE {} SET {} = {}").format(
                sql.Identifier(name), sql.Identifier(setting), value
            )
        )
        with pg.connect(postgres_server.url(name), name="test") as connection:
            assert migrate(connection).functions


# findings A1
@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_JP"])
def test_an_encoding_that_cannot_hold_names_is_refused_by_migrate(postgres_server, encoding):
    name = f"enc_{encoding.lower()}"
    postgres_server.execute(
        sql.SQL("CREATE DATABASE {} ENCODING {} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'").format(
            sql.Identifier(name), encoding
        )
    )
    try:
        with (
            pg.connect(postgres_server.url(name), name="test") as connection,
            pytest.raises(StoreRefused, match=f"its encoding is {encoding}.*createdb --encoding=UTF8"),
        ):
            migrate(connection)
    finally:
        postgres_server.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))
