"""A role that may not do what labmon needs, and a server that has no connection left."""

import psycopg
import pytest

from labmon.app.open import ingest_settings, open_store
from labmon.config.load import load
from labmon.errors import Exit, StoreForbidden, StoreUnavailable
from labmon.messages import Discovery, utcnow
from labmon.sinks.direct import DirectSink
from labmon.sinks.spool.spool import Spool
from labmon.store import migrate


@pytest.fixture
def role(postgres_server, store_url):
    """The database as a role sees it that may only log in."""
    name = "reader_" + store_url.rpartition("_")[2]
    postgres_server.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
    yield f"postgresql://{name}:secret@{store_url.partition('@')[2]}"
    with psycopg.connect(store_url, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {name}")
    postgres_server.execute(f"DROP ROLE {name}")


def configured(url, **flags):
    return load(environ={}, flags={"database.url": url, "database.pool_size": 1} | flags).config


def name_of(url):
    return url.partition("//")[2].partition(":")[0]


# findings C5
def test_a_missing_permission_names_the_grant(role, store_url):
    with pytest.raises(StoreForbidden, match="GRANT SELECT, INSERT.* TO reader_") as refused:
        open_store(configured(role))
    assert refused.value.exit_code is Exit.PERMISSION
    grants = str(refused.value).partition("owner: ")[2]
    with psycopg.connect(store_url, autocommit=True) as owner:
        owner.execute(grants)
    with open_store(configured(role)) as store, store.transaction() as connection:
        connection.execute("UPDATE systems SET hostname = hostname")
    with (
        open_store(configured(role)) as store,
        pytest.raises(StoreForbidden, match="GRANT OWNER TO reader_"),
        store.transaction() as connection,
    ):
        connection.execute("ALTER TABLE systems ADD COLUMN x int")


# findings C5
def test_a_database_in_which_a_role_may_not_create_names_the_grant(postgres_server):
    with postgres_server.database() as database:
        postgres_server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database)
        postgres_server.execute(f"CREATE ROLE plain_{database} LOGIN PASSWORD 'x'")
        url = postgres_server.url(database).partition("@")[2]
        store = open_store(configured(f"postgresql://plain_{database}:x@{url}"), any_schema=True)
        with (
            store,
            pytest.raises(StoreForbidden, match=f"GRANT CREATE ON SCHEMA public TO plain_{database}"),
            store.transaction() as connection,
        ):
            migrate.migrate(connection)
    postgres_server.execute(f"DROP ROLE plain_{database}")


# findings C5
def test_what_a_role_may_not_store_is_spooled_and_an_error(role, store_url, tmp_path):
    with psycopg.connect(store_url, autocommit=True) as owner:
        owner.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name_of(role)}")
    config = configured(role)
    spool = Spool(tmp_path / "spool", max_bytes=10**7, max_age=86400)
    sink = DirectSink(lambda: open_store(config), ingest_settings(config), spool, lambda line: None)
    found = Discovery(scan_id=1, dept_id=1, ip_address="10.0.0.9", discovered_at=utcnow(), scan_type="arp")
    sink.send(found)
    with pytest.raises(StoreForbidden, match="GRANT"):
        sink.flush()
    assert sink.spooled == 1


# findings C8
def test_a_server_without_a_connection_left_is_not_said_to_be_away(role):
    user = name_of(role)
    with psycopg.connect(role.replace(f"{user}:secret", "labmon:correct%20horse"), autocommit=True) as owner:
        owner.execute(f"ALTER ROLE {user} CONNECTION LIMIT 0")
        with pytest.raises(StoreUnavailable, match="too many connections.*pool_size") as full:
            open_store(configured(role))
        assert "Is it running" not in str(full.value)
