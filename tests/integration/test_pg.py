"""How labmon connects to PostgreSQL: through poolers, and with passwords in the clear."""

import threading
import time

import psycopg
import pytest

from labmon import cleartext, pg
from labmon.app.open import open_store
from labmon.brokers import open_broker
from labmon.brokers.base import Message
from labmon.brokers.postgres.broker import PostgresBroker
from labmon.config.load import load
from labmon.errors import BrokerRefused, ConfigError, StoreRefused
from tests.conftest import started
from tests.contract.test_broker import messages, take
from tests.support.pgbouncer_server import PgBouncer
from tests.support.servers import PostgresServer


@pytest.fixture
def pooler(postgres_server, request):
    yield from started(lambda: PgBouncer(postgres_server, request.param, pool_size=6))


def database_of(url):
    return url.rpartition("/")[2]


# findings A12: refused as packaged, and workers died in transaction mode
@pytest.mark.parametrize("pooler", ["session"], indirect=True)
def test_a_pooler_in_session_mode_works(pooler, store_url):
    url = pooler.url(database_of(store_url))
    with (
        open_store(load(environ={"LABMON_DATABASE_URL": url}).config) as store,
        PostgresBroker(url) as broker,
    ):
        broker.declare("work")
        with broker.consume("work") as consumer:
            broker.publish("work", messages(20))
            deliveries = take(consumer, 20)
            with store.transaction() as connection:
                assert connection.execute("SHOW TimeZone").fetchone() == ("UTC",)
                assert consumer.can_ack_within(connection)
                for _ in range(10):  # psycopg prepares what it has seen five times
                    connection.execute("SELECT count(*) FROM systems WHERE system_id = %s", [1])
                consumer.ack_within(connection, deliveries)
            assert broker.depth("work").consumers == 1
        deadline = time.monotonic() + 10
        while broker.depth("work").consumers and time.monotonic() < deadline:
            time.sleep(0.05)  # the pooler resets a session after it was left
        assert broker.depth("work").consumers == 0


@pytest.mark.parametrize("pooler", ["transaction", "statement"], indirect=True)
def test_a_pooler_that_shares_sessions_is_refused_in_one_line(pooler, store_url):
    one_line = r"^[^\n]*pool_mode = session[^\n]*$"
    url = pooler.url(database_of(store_url))
    with pytest.raises(StoreRefused, match=one_line):
        open_store(load(environ={"LABMON_DATABASE_URL": url}).config)
    with (
        PostgresBroker(url) as broker,
        pytest.raises(BrokerRefused, match="^[^\\n]*pool_mode = session[^\\n]*$"),
    ):
        broker.declare("work")


@pytest.mark.parametrize("pooler", ["transaction"], indirect=True)
def test_a_pooler_that_shares_sessions_is_recognised_while_others_use_it(pooler, postgres_url):
    url, stop = pooler.url(database_of(postgres_url)), threading.Event()

    def work():
        with psycopg.connect(url, prepare_threshold=None) as connection:
            while not stop.is_set():
                connection.execute("SELECT 1")
                connection.commit()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            pg._poolers.clear()
            with pytest.raises(pg.TransactionPooler):
                pg.connect(url, name="labmon")
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("pooler", ["session"], indirect=True)
def test_a_pooler_in_session_mode_that_is_full_is_not_waited_for_without_end(
    pooler, postgres_url, monkeypatch
):
    monkeypatch.setattr(pg, "POOLER_ANSWERS", 2)
    url = pooler.url(database_of(postgres_url))
    holders = [psycopg.connect(url) for _ in range(5)]
    for holder in holders:
        holder.execute("SELECT 1")
    pg._poolers.clear()
    began = time.monotonic()
    with pg.connect(url, name="labmon", autocommit=True) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert time.monotonic() - began < 30
    for holder in holders:
        holder.close()


@pytest.mark.parametrize("pooler", ["session"], indirect=True)
def test_options_of_the_url_that_a_pooler_refuses_are_named(pooler, postgres_url):
    url = f"{pooler.url(database_of(postgres_url))}?options=-c%20jit%3Doff"
    with (
        PostgresBroker(url) as broker,
        pytest.raises(BrokerRefused, match="unsupported startup parameter: options"),
    ):
        broker.declare("work")


def test_postgresql_itself_is_not_asked_twice(postgres_url, monkeypatch):
    monkeypatch.setattr(pg, "_shares_sessions", lambda connection: pytest.fail("it is no pooler"))
    for autocommit in (False, True):
        with pg.connect(postgres_url, name="labmon", autocommit=autocommit) as connection:
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
            assert connection.execute("SHOW TimeZone").fetchone() == ("UTC",)


# findings B3: libpq's default sent the password in the clear to a server that said no to TLS
@pytest.mark.parametrize("user", ["store", "broker", "refused"])
def test_a_password_in_the_clear_is_warned_of_once(postgres_server, store_url, monkeypatch, caplog, user):
    monkeypatch.setattr(cleartext, "is_local", lambda host: False)
    monkeypatch.setattr(cleartext, "_warned", set())
    for _ in range(2):
        if user == "store":
            open_store(load(environ={"LABMON_DATABASE_URL": store_url}).config).close()
        elif user == "broker":
            with PostgresBroker(store_url) as broker:
                broker.declare("work")
                broker.publish("work", [Message("a", b"")])
        else:
            name = database_of(store_url)
            with PostgresBroker(postgres_server.url(name, password="wrong")) as broker:
                with pytest.raises(BrokerRefused):
                    broker.declare("work")
    (record,) = caplog.records
    assert "not encrypted" in record.getMessage() and "sslmode=verify-full" in record.getMessage()
    assert postgres_server.PASSWORD not in caplog.text


def test_nothing_is_warned_of_on_this_machine(store_url, postgres_server, caplog):
    for url in (store_url, postgres_server.socket_conninfo("postgres")):
        with pg.connect(url, name="labmon"):
            pass
    assert caplog.records == []


@pytest.fixture(scope="module")
def tls_server(certificates):
    def server():
        made = PostgresServer(
            settings={
                "ssl": "on",
                "ssl_cert_file": "server.pem",
                "ssl_key_file": "server.key",
            }
        )
        for name in ("server.pem", "server.key"):
            file = made.data / name
            file.write_bytes((certificates / name).read_bytes())
            file.chmod(0o600)
            made._own(file)
        return made

    yield from started(server)


def queue_on(server, **environ):
    """The queue in a PostgreSQL of its own."""
    given = {
        "QUEUE_TYPE": "postgres",
        "QUEUE_HOST": "127.0.0.1",
        "QUEUE_PORT": str(server.port),
        "QUEUE_USER": server.USER,
        "QUEUE_PASSWORD": server.PASSWORD,
        "LABMON_QUEUE_DATABASE": "postgres",
    }
    return load(environ=given | environ).config.queue


ON = {"LABMON_QUEUE_TLS": "true"}


# findings B3: [queue] tls* were ignored for type postgres
@pytest.mark.parametrize("verified", [True, False])
def test_the_queue_in_postgresql_is_encrypted(tls_server, certificates, verified):
    how = {"LABMON_QUEUE_TLS_VERIFY": "false"}
    if verified:
        how = {"LABMON_QUEUE_TLS_CA": str(certificates / "ca.pem")}
    with open_broker(queue_on(tls_server, **ON, **how), store_url="") as broker:
        broker.declare("work")
        encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        with broker._connection() as session:
            assert session.execute(encrypted).fetchone() == (True,)


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "certificate verify failed"),
        ({"LABMON_QUEUE_TLS_CA": "/nowhere.pem"}, "/nowhere.pem.*does not exist"),
        ({"QUEUE_HOST": "localhost", "LABMON_QUEUE_TLS_CA": "{ca}"}, "does not match host name"),
    ],
)
def test_a_certificate_that_is_not_trusted_is_refused_in_one_line(tls_server, certificates, environ, says):
    environ = {name: value.format(ca=certificates / "ca.pem") for name, value in environ.items()}
    with open_broker(queue_on(tls_server, **ON, **environ), store_url="") as broker:
        with pytest.raises(BrokerRefused, match=f"^[^\\n]*{says}[^\\n]*$"):
            broker.declare("work")


@pytest.mark.parametrize("verify", ["true", "false"])
def test_a_server_that_says_no_to_tls_gets_no_password(postgres_server, verify):
    settings = queue_on(postgres_server, **ON, LABMON_QUEUE_TLS_VERIFY=verify)
    with open_broker(settings, store_url="") as broker, pytest.raises(BrokerRefused, match="SSL"):
        broker.declare("work")


# findings B3: the warning came when the password had been sent
@pytest.mark.parametrize(
    "mode, said",
    [("", "perhaps not encrypted"), ("allow", "perhaps not encrypted"), ("disable", ": not encrypted")],
)
def test_a_password_in_the_clear_is_warned_of_before_anybody_is_asked(monkeypatch, caplog, mode, said):
    monkeypatch.setattr(cleartext, "is_local", lambda host: False)
    monkeypatch.setattr(cleartext, "_warned", set())
    seen = []
    monkeypatch.setattr(psycopg, "connect", lambda *_, **__: seen.append(caplog.text) or pytest.fail("asked"))
    url = f"postgresql://labmon:secret@127.0.0.1:1/labmon{f'?sslmode={mode}' if mode else ''}"
    with pytest.raises(pytest.fail.Exception):
        pg.connect(url, name="labmon")
    assert said in seen[0] and "secret" not in seen[0]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://labmon:secret@127.0.0.1:1/x?sslmode=require",
        "postgresql://labmon:secret@127.0.0.1:1/x?sslmode=verify-full",
        "postgresql://labmon@127.0.0.1:1/x",
    ],
)
def test_nothing_is_warned_of_where_no_password_can_go_in_the_clear(monkeypatch, caplog, url):
    monkeypatch.setattr(cleartext, "is_local", lambda host: False)
    monkeypatch.setattr(cleartext, "_warned", set())
    monkeypatch.delenv("PGPASSWORD", raising=False)
    pg.warn_of_clear_text(url)
    assert not caplog.records


@pytest.mark.parametrize("url", ["postgresql://x:a/b@127.0.0.1/d", "host='x", "postgresql://h:0x/d?x"])
def test_an_address_that_cannot_be_read_is_a_fault_of_the_configuration(url):
    with pytest.raises(ConfigError, match=r"\[database\] url"):
        open_store(load(environ={"LABMON_DATABASE_URL": url}).config)


@pytest.mark.parametrize("more", ["sslmode=sometimes", "channel_binding=perhaps", "target_session_attrs=x"])
def test_so_is_a_setting_in_it_that_libpq_refuses_before_it_connects(more, postgres_server):
    url = f"postgresql://x@127.0.0.1:{postgres_server.port}/x?{more}"
    with pytest.raises(ConfigError, match=r"\[database\] url"):
        open_store(load(environ={"LABMON_DATABASE_URL": url}).config)
