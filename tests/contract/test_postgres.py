"""What the PostgreSQL broker promises beyond the contract: its SQL door, its transactions, its upkeep."""

import random
import threading
import time

import psycopg
import pytest

from labmon.brokers.base import Message
from labmon.brokers.postgres import broker as postgres
from labmon.brokers.postgres.broker import PostgresBroker
from labmon.errors import BrokerRefused, BrokerUnavailable, ConfigError
from tests.contract.test_broker import drain, ids, messages, take
from tests.support.clock import clock
from tests.support.servers import PostgresServer


@pytest.fixture
def broker(postgres_url):
    with PostgresBroker(postgres_url) as broker:
        broker.declare("work")
        yield broker


@pytest.fixture
def session(postgres_url, broker):
    """Another program's connection to the same database, in autocommit."""
    with psycopg.connect(postgres_url, autocommit=True) as session:
        yield session


def counted(session):
    """Depth as one can count it."""
    (row,) = session.execute(
        """
        SELECT (SELECT count(*) FROM labmon_queue WHERE queue = 'work' AND leased_until <= now()),
               (SELECT count(*) FROM labmon_queue WHERE queue = 'work' AND leased_until <= now() AND high),
               (SELECT count(*) FROM labmon_queue WHERE queue = 'work' AND leased_until > now()),
               (SELECT count(*) FROM labmon_queue_dead WHERE queue = 'work')
        """
    )
    return row


def claimed(broker):
    depth = broker.depth("work")
    return depth.ready, depth.ready_high, depth.in_flight, depth.dead


# messages from plain SQL


@pytest.mark.parametrize("kind", ["", "::text", "::json"])
def test_sql_publishes_a_body_exactly_as_typed(broker, session, kind):
    body = '{"b" : 1,\n  "a":"Zoë", "a": 1.50}'
    (id,) = session.execute(f"SELECT labmon_publish('work', '{body}'{kind})").fetchone()
    with broker.consume("work") as consumer:
        (delivery,) = take(consumer, 1)
    assert delivery.message == Message(id, body.encode())
    assert delivery.attempt == 1 and delivery.enqueued_at


def test_sql_publishes_jsonb_a_routing_key_and_a_priority(broker, session):
    session.execute(
        "SELECT labmon_publish('work', jsonb_build_object('a', 1), routing_key => 'x.y', high => true)"
    )
    session.execute("SELECT labmon_publish('work', '{}', 'x.z', true)")
    session.execute("SELECT labmon_publish(%s, %s)", ("work", "{}"))
    with broker.consume("work") as consumer:
        received = {
            (one.message.body, one.message.routing_key, one.message.high) for one in take(consumer, 3)
        }
    assert received == {(b'{"a": 1}', "x.y", True), (b"{}", "x.z", True), (b"{}", "", False)}


def test_sql_to_a_queue_that_is_not_there_says_what_to_do(session):
    with pytest.raises(psycopg.errors.UndefinedObject, match="no queue wrok(.|\n)*labmon setup-queues"):
        session.execute("SELECT labmon_publish('wrok', '{}')")


def test_a_waiting_consumer_finds_what_sql_published(broker, session):
    with broker.consume("work") as consumer:
        timer = threading.Timer(0.5, lambda: session.execute("SELECT labmon_publish('work', '{}')"))
        timer.start()
        started = clock()
        assert len(consumer.receive(1, 20.0)) == 1
        assert clock() - started < 3
        timer.join()


def test_depth_for_psql(broker, session):
    broker.publish("work", messages(2))
    cursor = session.execute("SELECT ready, dead, consumers FROM labmon_queue_depth('work')")
    assert cursor.fetchone() == (2, 0, 0)


# rows and ack in one transaction


@pytest.fixture
def store(postgres_url):
    """A connection of the kind that stores rows: every block is a transaction."""
    with psycopg.connect(postgres_url, autocommit=True) as store:
        store.execute("CREATE TABLE stored (body bytea)")
        yield store


def keep(store, deliveries):
    for one in deliveries:
        store.execute("INSERT INTO stored VALUES (%s)", (one.message.body,))


def test_rows_and_ack_are_committed_together(broker, store):
    broker.publish("work", messages(3) + messages(1, high=True))
    with broker.consume("work") as consumer:
        assert consumer.can_ack_within(store)
        deliveries = take(consumer, 4)
        with store.transaction():
            keep(store, deliveries)
            assert consumer.ack_within(store, deliveries) == []
            assert claimed(broker) == (0, 0, 4, 0)
        assert claimed(broker) == (0, 0, 0, 0)
    assert store.execute("SELECT count(*) FROM stored").fetchone() == (4,)


def test_rows_and_ack_are_undone_together(broker, store):
    broker.publish("work", messages(3))
    with broker.consume("work") as consumer:
        deliveries = take(consumer, 3)
        with pytest.raises(ZeroDivisionError), store.transaction():
            keep(store, deliveries)
            consumer.ack_within(store, deliveries)
            raise ZeroDivisionError
        assert claimed(broker) == (0, 0, 3, 0)
        consumer.release(deliveries)
        again = take(consumer, 3)
    assert {one.attempt for one in again} == {1}
    assert store.execute("SELECT count(*) FROM stored").fetchone() == (0,)


def test_ack_within_names_what_somebody_else_has_taken(postgres_url, broker, store):
    broker.publish("work", messages(3))
    with PostgresBroker(postgres_url, lease=0.5) as hasty, hasty.consume("work") as slow:
        stale = take(slow, 3)
        slow.ack(stale[:1])
        with broker.consume("work") as consumer:
            (taken,) = take(consumer, 1)
            with store.transaction():
                lost = slow.ack_within(store, stale)
            assert set(ids(lost)) == {stale[0].message.id, taken.message.id}
            assert claimed(broker) == (0, 0, 1, 0)


def test_ack_within_is_not_for_another_database(postgres_server, broker):
    with postgres_server.database() as other, psycopg.connect(postgres_server.url(other)) as store:
        with broker.consume("work") as consumer:
            assert not consumer.can_ack_within(store)


# upkeep


def test_the_counts_stay_true(broker, session):
    """Through every kind of change, with the rows of `labmon_queue_count` added up many times between."""
    random.seed(7)
    with broker.consume("work", prefetch=500) as consumer:
        held = []
        for turn in range(300):
            match random.randrange(7):
                case 0 | 1:
                    broker.publish("work", messages(random.randrange(1, 6)) + messages(turn % 3, high=True))
                case 2:
                    held += consumer.receive(random.randrange(1, 9), 0)
                case 3:
                    consumer.ack([held.pop() for _ in range(len(held) // 2)])
                case 4:
                    consumer.release([held.pop() for _ in range(len(held) // 3)], failed=turn % 2 == 0)
                case 5:
                    consumer.reject([held.pop() for _ in range(len(held) // 4)], "bad")
                case 6:
                    broker.requeue_dead("work", limit=1)
            assert claimed(broker) == counted(session)
    session.execute("DELETE FROM labmon_queue WHERE id % 2 = 0")
    assert claimed(broker) == counted(session)
    session.execute("TRUNCATE labmon_queue")
    session.execute("TRUNCATE labmon_queue_dead")
    assert claimed(broker) == counted(session) == (0, 0, 0, 0)
    (left,) = session.execute("SELECT count(*) FROM labmon_queue_lease").fetchone()
    assert left == 0


def test_counts_that_many_write_at_once(postgres_url, broker, session):
    def work(name):
        with PostgresBroker(postgres_url) as mine, mine.consume("work") as consumer:
            for turn in range(60):
                mine.publish("work", [Message(f"{name}-{turn}", b"")])
                consumer.ack(consumer.receive(3, 0)[turn % 2 :])

    threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert claimed(broker) == counted(session)
    (rows,) = session.execute("SELECT count(*) FROM labmon_queue_count").fetchone()
    assert rows < 720


def test_a_lease_that_ended_is_not_in_flight(postgres_url, broker, session):
    broker.publish("work", messages(2))
    with PostgresBroker(postgres_url, lease=0.2) as hasty:
        take(hasty.consume("work"), 2)
        time.sleep(0.3)
        assert claimed(broker) == counted(session) == (2, 0, 0, 0)
    with broker.consume("work"):  # opening one clears away the rows of leases that ended
        (left,) = session.execute("SELECT count(*) FROM labmon_queue_lease").fetchone()
    assert left == 0


def test_claims_leave_the_index_alone(broker, session):
    """HOT: the next version of a claimed row fits beside it, so no index entry is made."""
    broker.publish("work", [Message.new(b"x" * 400) for _ in range(2000)])
    with broker.consume("work", prefetch=2000) as consumer:
        take(consumer, 2000)
    deadline = time.monotonic() + 10
    updates = hot = 0
    while updates < 2000 and time.monotonic() < deadline:
        session.execute("SELECT pg_stat_clear_snapshot()")
        updates, hot = session.execute(
            "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'labmon_queue'"
        ).fetchone()
        time.sleep(0.1)
    assert updates >= 2000
    assert hot > 0.9 * updates


def test_a_plan_made_when_the_queue_was_empty_does_no_harm(broker, session):
    """PostgreSQL keeps plans, and its statistics may be old; a join of a full queue read it once per row."""

    def read():
        time.sleep(1.1)  # statistics are reported once a second
        session.execute("SELECT pg_stat_clear_snapshot()")
        cursor = session.execute(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'labmon_queue'"
        )
        return cursor.fetchone()[0]

    session.execute("ANALYZE labmon_queue")
    with broker.consume("work", prefetch=1000) as consumer:
        for _ in range(10):
            consumer.receive(10, 0)
        before = read()
        broker.publish("work", [Message.new(b"") for _ in range(5000)])
        deliveries = take(consumer, 1000)
        consumer.ack(deliveries[:300])
        consumer.reject(deliveries[300:600], "bad")
        consumer.release(deliveries[600:])
        assert len(drain(consumer)) == 4400
        broker.requeue_dead("work")
        broker.purge("work")
    assert read() - before < 20_000


def test_a_lane_alone_fills_the_batch_at_once(broker):
    broker.publish("work", messages(10, high=True))
    with broker.consume("work") as consumer:
        assert len(consumer.receive(10, 5.0)) == 10


def test_notifications_are_few(postgres_url, broker, session):
    (number,) = session.execute("SELECT number FROM labmon_queue_name WHERE queue = 'work'").fetchone()
    session.execute(f"LISTEN labmon_queue_{number}")
    started = time.monotonic()
    with PostgresBroker(postgres_url) as other:
        for _ in range(30):
            broker.publish("work", messages(1))
            other.publish("work", messages(1))
    took = time.monotonic() - started
    heard = [one.payload for one in session.notifies(timeout=0.5)]
    assert 1 <= len(heard) <= took / 0.15 + 1
    assert set(heard) == {""}


# the schema


def test_the_schema_has_the_version_that_the_adapter_expects(session):
    assert session.execute("SELECT labmon_queue_version()").fetchone() == (postgres.SCHEMA_VERSION,)


def test_the_schema_can_be_applied_again(broker, session, monkeypatch):
    broker.publish("work", messages(2))
    monkeypatch.setattr(postgres, "SCHEMA_VERSION", postgres.SCHEMA_VERSION + 1)
    assert broker.declare("work")
    assert claimed(broker) == (2, 0, 0, 0)


def test_a_newer_schema_is_left_alone(broker, session):
    newer = postgres.SCHEMA_VERSION + 1
    session.execute(
        f"CREATE OR REPLACE FUNCTION labmon_queue_version() RETURNS integer LANGUAGE sql AS 'SELECT {newer}'"
    )
    assert not broker.declare("work")
    assert broker.declare("another")
    assert session.execute("SELECT labmon_queue_version()").fetchone() == (newer,)


def test_declare_does_not_wait_for_a_transaction_that_stores(broker, store):
    """Workers declare when they start; one that is storing holds locks on the tables."""
    broker.publish("work", messages(1))
    with broker.consume("work") as consumer, store.transaction():
        consumer.ack_within(store, take(consumer, 1))
        store.execute("SET LOCAL lock_timeout = '5s'")
        assert not broker.declare("work")
        assert broker.declare("another")


# durability and errors


def test_what_publish_confirmed_survives_sigkill_of_a_server_that_commits_asynchronously():
    """The database says synchronous_commit = off, and the server writes its log every ten seconds."""
    lazy = {"wal_writer_delay": "10s", "wal_writer_flush_after": "1GB", "autovacuum": "off"}
    with PostgresServer(fsync=True, settings=lazy) as server:
        server.execute("ALTER DATABASE postgres SET synchronous_commit = off")
        with PostgresBroker(server.url()) as broker:
            broker.declare("work")
            broker.publish("work", messages(100))
            server.kill()
        server.start()
        with PostgresBroker(server.url()) as broker:
            assert broker.depth("work").ready == 100
            with broker.consume("work") as consumer:
                assert len(drain(consumer)) == 100


def test_a_database_that_is_not_there_is_refused(postgres_server):
    with PostgresBroker(postgres_server.url("nowhere")) as broker, pytest.raises(BrokerRefused) as caught:
        broker.depth("work")
    assert 'database "nowhere" does not exist' in str(caught.value)


def test_a_missing_permission_is_refused_and_says_what_to_do(postgres_server, postgres_url, broker):
    database = postgres_url.rpartition("/")[2]
    postgres_server.execute("DROP ROLE IF EXISTS nobody")
    postgres_server.execute("CREATE ROLE nobody LOGIN PASSWORD 'secret-of-nobody'")
    url = f"postgresql://nobody:secret-of-nobody@127.0.0.1:{postgres_server.port}/{database}"
    with PostgresBroker(url) as poor:
        with pytest.raises(BrokerRefused, match="permission denied.*Grant it") as caught:
            poor.publish("work", messages(1))
    assert "secret-of-nobody" not in str(caught.value)


@pytest.mark.parametrize(
    "address", ["postgresql://u:pa%zz@h/d", "not an address", "postgresql://h/d?wrong=1"]
)
def test_a_malformed_address_is_refused_without_quoting_it(address):
    with pytest.raises(ConfigError) as caught:
        PostgresBroker(address)
    assert "pa%zz" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_server_that_is_not_there_is_unavailable(own_postgres_server):
    url = own_postgres_server.url()
    own_postgres_server.stop()
    with PostgresBroker(url) as broker, pytest.raises(BrokerUnavailable) as caught:
        broker.declare("work")
    text = str(caught.value)
    assert f"127.0.0.1:{own_postgres_server.port}" in text and "Connection refused" in text
    assert PostgresServer.PASSWORD not in text and "\n" not in text


def test_an_id_that_is_no_text_is_refused(broker):
    for bad in ("\ud800", "a\x00b"):
        with pytest.raises(BrokerRefused):
            broker.publish("work", [Message(bad, b"")])
    broker.publish("work", messages(1))
    assert broker.depth("work").ready == 1


# findings A9: one row that another program put in ended every consumer, again at each start
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("attempts", "2147483647"),
        ("attempts", "-2147483648"),
        ("enqueued_at", "'-infinity'"),
        ("enqueued_at", "'infinity'"),
        ("enqueued_at", "'100000-01-01'"),
        ("enqueued_at", "'4000-01-01 BC'"),
    ],
)
def test_a_row_of_another_program_stops_no_other(broker, session, column, value):
    broker.publish("work", [Message("before", b"")])
    session.execute(
        f"INSERT INTO labmon_queue (queue, message_id, body, {column}) VALUES ('work', 'theirs', '', {value})"
    )
    broker.publish("work", [Message("after", b"")])
    assert broker.depth("work").ready == 3
    with broker.consume("work") as consumer:
        deliveries = {one.message.id: one for one in take(consumer, 3)}
        consumer.ack([deliveries["before"], deliveries["after"]])
        consumer.release([deliveries["theirs"]])
        (again,) = take(consumer, 1)
        consumer.reject([again], "bad")
    (dead,) = broker.dead_letters("work")
    assert dead.message.id == "theirs" and (column == "attempts" or dead.enqueued_at is None)
    assert broker.requeue_dead("work") == 1
    with broker.consume("work") as consumer:
        consumer.ack(take(consumer, 1))
    assert broker.depth("work").ready == 0


@pytest.mark.parametrize("died_at", ["'infinity'", "'-infinity'", "'200000-01-01'"])
def test_a_dead_letter_of_another_program_is_listed(broker, session, died_at):
    session.execute(
        "INSERT INTO labmon_queue_dead (queue, high, attempts, enqueued_at, died_at, reason, error, "
        "message_id, routing_key, body) "
        f"VALUES ('work', false, 1, {died_at}, {died_at}, 'bad', '', 'theirs', '', '')"
    )
    (dead,) = broker.dead_letters("work")
    assert dead.message.id == "theirs" and dead.enqueued_at is None
    (again,) = broker.dead_letters("work", id="their", reason="ba")
    assert again.message == dead.message
    assert broker.dead_letters("work", id="other") == broker.dead_letters("work", id="a\x00\ud800") == []
