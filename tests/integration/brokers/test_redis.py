"""What the Redis broker promises beyond the contract: its door, its warnings, its narrow escapes."""

import json
import logging
import socket
import subprocess
import sys
import threading
import time

import pytest

from labmon.brokers import open_broker
from labmon.brokers.base import Message
from labmon.brokers.redis import connection, reclaim
from labmon.brokers.redis.broker import RedisBroker
from labmon.config.load import load
from labmon.errors import BrokerRefused, BrokerUnavailable, ConfigError
from tests.conftest import started
from tests.contract.test_broker import drain, ids, messages, run_all, take
from tests.support.clock import clock
from tests.support.redis_server import RedisServer


def opened(server, *, lease=60.0, ttl=None, **address):
    given = {"host": "127.0.0.1", "port": server.port, "password": server.PASSWORD, **address}
    return RedisBroker(connection.RedisEndpoint(**given), lease=lease, ttl=ttl)


@pytest.fixture
def server(redis_server):
    redis_server.cli("FLUSHALL")
    return redis_server


@pytest.fixture
def broker(server):
    with opened(server) as broker:
        broker.declare("work")
        yield broker


@pytest.fixture
def own_broker(own_redis_server):
    with opened(own_redis_server) as broker:
        broker.declare("work")
        yield broker


def consumers(server, lane="work"):
    """The names in the group, but for that of what was given back."""
    lines = server.cli("XINFO", "CONSUMERS", lane, "labmon").splitlines()
    return sorted(set(lines[1::6]) - {"released"})


def pending(server, lane="work"):
    return int(server.cli("XPENDING", lane, "labmon").splitlines()[0])


# the door for others


def test_an_entry_with_only_a_body_is_a_message(server, broker):
    entry = server.cli("XADD", "work", "*", "body", '{"system_id": 1}')
    with broker.consume("work") as consumer:
        (delivery,) = take(consumer, 1)
        assert delivery.message == Message(entry, b'{"system_id": 1}')
        assert delivery.attempt == 1
        assert delivery.enqueued_at.timestamp() == pytest.approx(time.time(), abs=60)
        consumer.ack([delivery])
    assert server.cli("XLEN", "work") == "0"


def test_entries_from_before_the_queue_was_declared_are_delivered(server):
    server.cli("XADD", "work", "*", "body", "early")
    with opened(server) as broker:
        assert not broker.is_declared("work")
        assert broker.declare("work")
        assert broker.is_declared("work")
        with broker.consume("work") as consumer:
            assert take(consumer, 1)[0].message.body == b"early"


def test_an_entry_without_a_body_loses_nothing_on_its_way_to_the_dead_letters(server, broker):
    server.cli("XADD", "work", "*", "system_id", "7", "cpu", "12.5")
    with broker.consume("work") as consumer:
        consumer.reject(take(consumer, 1), "undecodable")
    (dead,) = broker.dead_letters("work")
    assert json.loads(dead.message.body) == {"system_id": "7", "cpu": "12.5"}


def test_an_entry_with_an_id_that_is_no_time(server, broker):
    server.cli("XADD", "work", "18446744073709551000-5", "body", "far")
    server.cli("XADD", "work.high", "1-1", "body", "old")
    with opened(server, ttl={"work": 60}) as impatient, impatient.consume("work") as consumer:
        old, far = take(consumer, 2)
        assert far.enqueued_at is None and not far.expired
        assert old.expired
        consumer.ack([old, far])
    assert broker.depth("work").in_flight == 0


HIGHEST = "18446744073709551615-18446744073709551615"


# findings D12: queue-depth ended with "needs Redis 6.2"
@pytest.mark.parametrize("entry_id", [HIGHEST, "18446744073709551615-18446744073709551614"])
@pytest.mark.parametrize("key", ["work", "work.high"])
def test_an_entry_with_the_highest_id_is_a_message_like_others(server, broker, key, entry_id):
    broker.publish("work", messages(2) + messages(1, high=True))
    server.cli("XADD", key, entry_id, "body", "last")
    assert (broker.depth("work").ready, broker.depth("work").oldest_age_seconds < 100) == (4, True)
    with broker.consume("work") as consumer:
        deliveries = take(consumer, 4)
        assert broker.depth("work").in_flight == 4
        consumer.release(deliveries)
    assert broker.depth("work").ready == 4
    assert broker.purge("work") == 4


def test_a_stream_that_has_come_to_its_end_is_explained_with_the_way_out(server, broker):
    server.cli("XADD", "work", HIGHEST, "body", "last")
    with pytest.raises(BrokerRefused, match="^[^\n]*highest possible id.*DEL KEY; labmon setup-queues$"):
        broker.publish("work", messages(1))
    with broker.consume("work") as consumer:
        consumer.ack(take(consumer, 1))
    assert broker.depth("work").ready == 0
    server.cli("DEL", "work")
    assert broker.declare("work")
    broker.publish("work", messages(1))


@pytest.mark.parametrize("number", [1, 1000])
def test_dead_letters_up_to_the_highest_id(server, broker, number):
    add = "redis.call('XADD', 'work.dead', '*', 'body', '{}', 'reason', 'bad', 'attempt', ARGV[2])"
    server.cli("EVAL", f"for _ = 1, ARGV[1] do {add} end", "0", str(number - 1), "9" * 5000)
    server.cli("XADD", "work.dead", HIGHEST, "body", "last", "reason", "odd")
    assert len(broker.dead_letters("work", limit=2000)) == number
    assert [one.message.body for one in broker.dead_letters("work", reason="odd")] == [b"last"]
    assert broker.requeue_dead("work") == number
    with broker.consume("work", prefetch=1000) as consumer:
        consumer.release(take(consumer, number))
        with pytest.raises(BrokerRefused, match="work.dead.*highest possible id"):
            consumer.reject(take(consumer, 1), "bad")
    with broker.consume("work", prefetch=1000) as consumer:
        assert len(drain(consumer)) == number


# findings A9: what another program named itself ended every consumer of the queue
@pytest.mark.parametrize("lease", ["9" * 16, "9" * 30, "9" * 5000, "0"])
def test_a_name_with_a_number_that_is_none_ends_nobody(server, broker, lease):
    broker.publish("work", messages(3))
    theirs = f"host-1-0123abcd/{lease}"
    server.cli("XREADGROUP", "GROUP", "labmon", theirs, "COUNT", "1", "STREAMS", "work", ">")
    with broker.consume("work") as consumer:
        consumer.ack(take(consumer, 2))
        consumer.receive(1, 2.0)
        assert broker.depth("work").ready == 0 or lease == "0"


# findings B6: to show one, every one was loaded
@pytest.mark.parametrize("wanted", [{"id": "id-1700"}, {"reason": "odd"}, {"limit": 3}])
def test_no_more_dead_letters_are_loaded_than_are_returned(server, broker, monkeypatch, wanted):
    broker.publish("work", [Message(f"id-{n:04}", b"x" * 100) for n in range(2000)])
    with broker.consume("work", prefetch=2000) as consumer:
        for delivery in take(consumer, 2000):
            consumer.reject([delivery], "odd" if delivery.message.id == "id-1500" else "bad")
    loaded = []
    real = connection.RedisConnection.call

    def call(self, *command):
        reply = real(self, *command)
        if command[0] == "XRANGE":
            loaded.extend(reply)
        return reply

    monkeypatch.setattr(connection.RedisConnection, "call", call)
    found = broker.dead_letters("work", **wanted)
    assert len(loaded) == len(found) == wanted.get("limit", 1)


def test_the_length_of_the_stream_is_the_depth(server, broker):
    broker.publish("work", messages(5))
    assert server.cli("XLEN", "work") == "5"
    with broker.consume("work") as consumer:
        consumer.ack(take(consumer, 5))
    assert server.cli("XLEN", "work") == "0"


def test_another_programs_dead_letter_can_be_put_back(server, broker):
    server.cli("XADD", "work.dead", "*", "body", "theirs")
    server.cli("XADD", "work.dead", "*", "system_id", "7")
    assert [one.message.body for one in broker.dead_letters("work")] == [b"theirs", b'{"system_id": "7"}']
    assert broker.requeue_dead("work") == 2
    with broker.consume("work") as consumer:
        whole, bare = (one.message.body for one in take(consumer, 2))
    assert whole == b"theirs"
    assert json.loads(bare) == {"system_id": "7"}


@pytest.mark.parametrize("name", ["theirs", "theirs/1"])
def test_another_programs_consumer_has_our_lease(server, broker, name):
    broker.publish("work", messages(2))
    server.cli("XREADGROUP", "GROUP", "labmon", name, "COUNT", "2", "STREAMS", "work", ">")
    with opened(server, lease=1.5) as patient, patient.consume("work") as consumer:
        assert consumer.receive(2, 1.2) == []
        assert {one.attempt for one in take(consumer, 2)} == {2}


@pytest.mark.parametrize("key", ["work", "work.high", "work.dead"])
def test_a_list_in_the_way_is_explained_with_the_way_out(server, key):
    server.cli("RPUSH", key, "kept")
    with opened(server) as broker:
        for call in (broker.declare, broker.is_declared):
            with pytest.raises(BrokerRefused, match=f"{key} holds a list.*redis-cli RENAME {key} {key}.old"):
                call("work")
        server.cli("RENAME", key, f"{key}.old")
        assert broker.declare("work")
    assert server.cli("LRANGE", f"{key}.old", "0", "-1") == "kept"


def test_a_list_that_came_later_is_refused_by_all(server, broker):
    server.cli("DEL", "work")
    server.cli("RPUSH", "work", "theirs")
    for call in (
        lambda: broker.publish("work", messages(1)),
        lambda: broker.consume("work"),
        lambda: broker.depth("work"),
        lambda: broker.purge("work"),
        lambda: broker.dead_letters("work"),
    ):
        with pytest.raises(BrokerRefused, match="RENAME work"):
            call()


def test_a_deleted_queue_is_refused_until_it_is_declared_again(server, broker):
    with broker.consume("work") as consumer:
        server.cli("DEL", "work")
        with pytest.raises(BrokerRefused, match="labmon setup-queues"):
            consumer.receive(1, 1.0)
    with pytest.raises(BrokerRefused, match="labmon setup-queues"):
        broker.publish("work", messages(1))
    assert broker.declare("work")
    broker.publish("work", messages(1))


# accounts


def test_no_password_is_refused(server):
    with pytest.raises(BrokerRefused, match=r"Set \[queue\] user and password"):
        opened(server, password="").declare("work")


def test_an_account_that_may_not_publish_is_told_what_to_grant(own_redis_server):
    own_redis_server.cli("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@all", "-xadd")
    with opened(own_redis_server, user="reader", password="secret") as broker:
        broker.declare("work")
        with pytest.raises(BrokerRefused, match=r"xadd.*ACL SETUSER"):
            broker.publish("work", messages(1))


NEEDED = (
    "+type +multi +exec +eval +time +client|setname +xadd +xlen +xrange +xrevrange +xreadgroup +xack +xdel "
    "+xtrim +xclaim +xpending +xgroup|create +xgroup|delconsumer +xinfo|groups "
    "+xinfo|consumers +xinfo|stream"
)
"""What an account needs to do everything; without CLIENT LIST, CONFIG GET and INFO it sees less."""


def test_an_account_with_few_permissions_does_everything(own_redis_server):
    keys = "~work ~work.high ~work.dead"
    own_redis_server.cli("ACL", "SETUSER", "few", "on", ">secret", *keys.split(), *NEEDED.split())
    account = {"user": "few", "password": "secret"}
    with opened(own_redis_server, **account) as broker:
        assert broker.declare("work") and broker.is_declared("work")
        assert broker.advice() == []
        broker.publish("work", messages(5) + messages(2, high=True))
        slow = opened(own_redis_server, **account, lease=0.5).consume("work")
        take(slow, 2)
        assert broker.depth("work").in_flight == 2
        assert broker.depth("work").consumers is None
        with broker.consume("work") as consumer:
            deliveries = take(consumer, 7)
            consumer.ack(deliveries[:2])
            consumer.release(deliveries[2:4], failed=True)
            consumer.reject(deliveries[4:], "bad")
        slow.close()
        assert len(broker.dead_letters("work")) == 3
        assert broker.requeue_dead("work", limit=1) == 1
        assert broker.purge("work") == 3
        assert broker.purge_dead("work") == 2


def test_databases_are_apart(server, broker):
    with opened(server, database=3) as other:
        with pytest.raises(BrokerRefused, match="setup-queues"):
            other.publish("work", messages(1))
        other.declare("work")
        other.publish("work", messages(1))
        with other.consume("work"):
            assert broker.depth("work").ready == 0
            assert broker.depth("work").consumers == 0
            assert other.depth("work").consumers == 1


def test_a_database_that_is_not_there_is_refused(server):
    with pytest.raises(BrokerRefused, match="DB index is out of range"):
        opened(server, database=99).declare("work")


def test_the_socket_of_a_server_on_this_machine(server):
    with opened(server, host=str(server.folder / "socket")) as broker:
        assert broker.declare("work")
    with pytest.raises(BrokerUnavailable, match="Is the server running"):
        opened(server, host=str(server.folder / "nothing")).declare("work")


def configured(server, **environ):
    return load(
        environ={
            "QUEUE_TYPE": "redis",
            "QUEUE_HOST": "127.0.0.1",
            "QUEUE_PORT": str(server.port),
            "QUEUE_PASSWORD": server.PASSWORD,
            **environ,
        }
    ).config


def test_the_configuration_opens_it(server):
    config = configured(server, LABMON_QUEUE_DATABASE="2", LABMON_QUEUE_TTL="0.1s")
    with open_broker(config.queue, store_url="") as broker:
        assert broker.declare("metrics_queue")
        broker.publish("metrics_queue", messages(1))
        time.sleep(0.2)
        with broker.consume("metrics_queue") as consumer:
            assert take(consumer, 1)[0].expired
    assert server.cli("-n", "2", "XLEN", "metrics_queue") == "1"


def test_a_database_by_name_is_refused(server):
    with pytest.raises(ConfigError, match=r"\[queue\] database"):
        open_broker(configured(server, LABMON_QUEUE_DATABASE="labmon").queue, store_url="")


# TLS


@pytest.fixture(scope="module")
def tls_server(certificates):
    files = {
        "tls-ca-cert-file": f"{certificates}/ca.pem",
        "tls-cert-file": f"{certificates}/server.pem",
        "tls-key-file": f"{certificates}/server.key",
        "tls-auth-clients": "no",
    }
    yield from started(lambda: RedisServer(tls=files))


def test_tls_by_the_configuration(tls_server, certificates):
    config = configured(tls_server, LABMON_QUEUE_TLS="true", LABMON_QUEUE_TLS_CA=f"{certificates}/ca.pem")
    with open_broker(config.queue, store_url="") as broker:
        broker.declare("work")
        broker.publish("work", [Message("large", b"x" * 500_000)])
        with broker.consume("work") as consumer:
            assert len(take(consumer, 1)[0].message.body) == 500_000


def test_a_certificate_of_an_unknown_ca_is_refused(tls_server):
    with pytest.raises(BrokerRefused, match="certificate is not accepted.*tls_ca"):
        opened(tls_server, tls=True).declare("work")


def test_a_certificate_of_another_host_is_refused(tls_server, certificates):
    with pytest.raises(BrokerRefused, match="certificate is not accepted.*tls_ca"):
        opened(tls_server, host="localhost", tls=True, tls_ca=f"{certificates}/ca.pem").declare("work")


def test_a_certificate_is_not_looked_at_where_that_is_wished(tls_server):
    config = configured(tls_server, LABMON_QUEUE_TLS="true", LABMON_QUEUE_TLS_VERIFY="false")
    with open_broker(config.queue, store_url="") as broker:
        assert broker.declare("unlooked")


@pytest.mark.parametrize("file", ["nothing.pem", "server.key"])
def test_a_ca_file_that_is_none_is_refused(tls_server, certificates, file):
    with pytest.raises(BrokerRefused, match="tls_ca"):
        opened(tls_server, tls=True, tls_ca=f"{certificates}/{file}").declare("work")


def test_tls_to_a_server_without(server, monkeypatch):
    monkeypatch.setattr(connection, "TIMEOUT", 1.0)  # it says nothing, but waits for the end of the line
    with pytest.raises(BrokerUnavailable, match="does it speak TLS"):
        opened(server, tls=True).declare("work")


def test_no_tls_to_a_server_with_it(tls_server):
    with pytest.raises(BrokerUnavailable, match=r"does it want \[queue\] tls"):
        opened(tls_server).declare("work")


# what the server may lose


@pytest.mark.parametrize(
    ("settings", "said", "level"),
    [
        ({"appendfsync": "everysec"}, "last second", "INFO"),
        ({"appendfsync": "no"}, "last half minute", "INFO"),
        ({"appendonly": "no"}, "may lose everything", "WARNING"),
        ({"appendonly": "no", "save": "60 1"}, "may lose the last minutes", "WARNING"),
        ({"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}, "noeviction", "WARNING"),
    ],
)
def test_what_may_be_lost_is_logged_once(own_redis_server, caplog, settings, said, level):
    for name, value in settings.items():
        own_redis_server.cli("CONFIG", "SET", name, value)
    with caplog.at_level(logging.INFO, "labmon"):
        for _ in range(2):
            with opened(own_redis_server) as broker:
                broker.declare("work")
                (line,) = broker.advice()
                assert said in line
                broker.publish("work", messages(1))
                broker.consume("work")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [(level, line)]


@pytest.mark.parametrize(
    "settings",
    [{}, {"maxmemory": "100mb"}, {"maxmemory-policy": "allkeys-lru"}, {"maxmemory-policy": "volatile-lru"}],
)
def test_a_server_that_keeps_everything_is_not_warned_of(own_redis_server, caplog, settings):
    for name, value in settings.items():
        own_redis_server.cli("CONFIG", "SET", name, value)
    with caplog.at_level(logging.INFO, "labmon"), opened(own_redis_server) as broker:
        assert broker.advice() == []
        broker.declare("work")
        broker.publish("work", messages(1))
    assert not caplog.records


def test_a_server_that_hides_its_configuration_is_known_by_its_info(own_redis_server):
    own_redis_server.cli("CONFIG", "SET", "appendonly", "no")
    own_redis_server.cli("ACL", "SETUSER", "some", "on", ">secret", "~*", "+@all", "-config")
    with opened(own_redis_server, user="some", password="secret") as broker:
        (line,) = broker.advice()
        assert "appendonly no" in line


def test_a_full_server_pushes_back_and_can_be_emptied(own_redis_server, own_broker):
    used = int(own_redis_server.cli("INFO", "memory").split("used_memory:")[1].split()[0])
    own_redis_server.cli("CONFIG", "SET", "maxmemory", str(used + 6_000_000))
    confirmed = []
    with pytest.raises(BrokerUnavailable, match="maxmemory"):
        for number in range(500):
            batch = [Message(f"{number}-{n}", b"x" * 1000) for n in range(50)]
            own_broker.publish("work", batch)
            confirmed += [one.id for one in batch]
    assert confirmed
    assert own_broker.depth("work").ready == len(confirmed), "a batch is taken as a whole or not at all"
    own_redis_server.cli("CONFIG", "SET", "maxmemory", str(used))
    received = []
    with own_broker.consume("work") as consumer:
        expired = take(consumer, 40)
        consumer.reject(expired[:20], "expired")
        consumer.release(expired[20:])
        received += ids(expired[:20]) + ids(drain(consumer))
    assert sorted(received) == sorted(confirmed)
    assert len(own_broker.dead_letters("work")) == 20
    with pytest.raises(BrokerUnavailable, match="maxmemory"):
        own_broker.requeue_dead("work")
    own_redis_server.cli("CONFIG", "SET", "maxmemory", "0")
    assert own_broker.requeue_dead("work") == 20
    own_broker.publish("work", messages(1))


# findings A10: a worker that was started could not empty a full server
@pytest.mark.parametrize("dead_letters", [False, True])
@pytest.mark.parametrize("high", [False, True])
def test_a_worker_started_at_a_full_server_empties_it(own_redis_server, own_broker, high, dead_letters):
    own_broker.publish("work", messages(5, high=high))
    if dead_letters:
        with own_broker.consume("work") as consumer:
            consumer.reject(take(consumer, 1), "bad")
    own_redis_server.cli("CONFIG", "SET", "maxmemory", "1")
    with opened(own_redis_server) as broker:
        assert broker.is_declared("work")
        assert broker.declare("work") is False
        assert broker.advice() == []
        with broker.consume("work") as consumer:
            assert len(drain(consumer)) == 5 - dead_letters
        assert broker.depth("work").ready == 0
        with pytest.raises(BrokerUnavailable, match="maxmemory"):
            broker.declare("another")


def test_what_is_missing_at_a_full_server_is_made_once_there_is_room(own_redis_server, own_broker):
    own_redis_server.cli("XGROUP", "DESTROY", "work.high", "labmon")
    own_redis_server.cli("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(BrokerUnavailable, match="maxmemory"):
        own_broker.declare("work")
    own_redis_server.cli("CONFIG", "SET", "maxmemory", "0")
    assert own_broker.declare("work") is True
    assert own_broker.declare("work") is False


def test_a_replica_pushes_back(own_redis_server, own_broker):
    own_redis_server.cli("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(BrokerUnavailable, match="replica"):
        own_broker.publish("work", messages(1))


# narrow escapes


def test_what_was_confirmed_survives_sigkill(own_redis_server, own_broker):
    confirmed, stop = [], threading.Event()

    def publish():
        for number in range(10_000):
            batch = [Message(f"{number}-{n}", b"x" * 300) for n in range(20)]
            try:
                own_broker.publish("work", batch)
            except BrokerUnavailable:
                return
            confirmed.extend(one.id for one in batch)
            if len(confirmed) > 2000:
                stop.set()

    thread = threading.Thread(target=publish)
    thread.start()
    assert stop.wait(30)
    own_redis_server.kill()
    thread.join(30)
    own_redis_server.start()
    with own_broker.consume("work") as consumer:
        assert set(confirmed) <= set(ids(drain(consumer)))


def test_what_is_held_and_given_back_survives_a_restart(own_redis_server, own_broker):
    own_broker.publish("work", messages(6))
    consumer = own_broker.consume("work")
    deliveries = take(consumer, 6)
    consumer.release(deliveries[:2])
    consumer.release(deliveries[2:4], failed=True)
    own_redis_server.kill()
    own_redis_server.start()
    with opened(own_redis_server) as broker, broker.consume("work") as consumer:
        attempts = {one.message.id: one.attempt for one in take(consumer, 6)}
    assert [attempts[f"normal-{n}"] for n in range(6)] == [1, 1, 2, 2, 2, 2]


def test_what_a_killed_process_held_is_taken_before_its_lease_ends(server, broker):
    broker.publish("work", messages(5))
    arguments = {"host": "127.0.0.1", "port": server.port, "password": server.PASSWORD, "lease": 600}
    command = [sys.executable, "-m", "tests.contract.servers", "redis", "work", json.dumps(arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert int(process.stdout.readline()) == 5
        process.kill()
    with broker.consume("work") as consumer:
        assert {one.attempt for one in take(consumer, 5)} == {2}
        assert len(consumers(server)) == 1, "the name of the killed one is forgotten"


def test_nobody_is_taken_for_gone_who_is_not(server):
    with opened(server, lease=600) as busy, opened(server, lease=600) as other:
        busy.declare("work")
        busy.publish("work", messages(3))
        with busy.consume("work") as holding, other.consume("work") as idle:
            deliveries = take(holding, 3)
            assert idle.receive(3, 2.5) == []
            holding.ack(deliveries)
            assert server.cli("XLEN", "work") == "0"
        assert consumers(server) == []


def test_the_names_of_the_gone_are_forgotten_where_nobody_sees_who_is_connected(
    own_redis_server, own_broker, monkeypatch
):
    monkeypatch.setattr(reclaim, "FORGOTTEN", 0.5)
    own_redis_server.cli("ACL", "SETUSER", "some", "on", ">secret", "~*", "+@all", "-client|list")
    account = {"user": "some", "password": "secret"}
    own_broker.publish("work", messages(2))
    gone = opened(own_redis_server, **account, lease=0.5)
    take(gone.consume("work"), 2)
    own_redis_server.cli("CLIENT", "KILL", "USER", "some")
    time.sleep(0.6)
    with opened(own_redis_server, **account) as broker, broker.consume("work") as consumer:
        assert len(take(consumer, 2)) == 2
        assert len(consumers(own_redis_server)) == 1
    gone.close()


class Proxy:
    """Between a client and the server; cuts the connection after so many bytes of the server's."""

    def __init__(self, port):
        self._target = port
        self._left = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets = [self._listener]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def cut_after(self, number):
        self._left = number

    def _accept(self):
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [client, server]
            for pair in ((client, server, False), (server, client, True)):
                thread = threading.Thread(target=self._copy, args=pair)
                self._threads.append(thread)
                thread.start()

    def _copy(self, source, target, counts):
        try:
            while data := source.recv(4096):
                if counts and self._left is not None:
                    data, self._left = data[: self._left], self._left - len(data)
                    target.sendall(data)
                    if self._left <= 0:
                        self._left = None
                        break
                else:
                    target.sendall(data)
        except OSError:
            pass
        self._end(source)
        self._end(target)

    def _end(self, one):
        try:
            one.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self):
        for one in self._sockets:
            self._end(one)
            one.close()
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def proxy(server):
    proxy = Proxy(server.port)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("where", [0, 1, 3000, 20_000])
def test_deliveries_whose_reply_was_cut_come_again(server, broker, proxy, where):
    broker.publish("work", [Message(f"{n}", b"x" * 400) for n in range(100)])
    with opened(server, port=proxy.port, lease=600) as cut:
        consumer = cut.consume("work")
        consumer.receive(1, 0)  # the looks at what others left
        proxy.cut_after(where)
        with pytest.raises(BrokerUnavailable):
            for _ in range(10):
                consumer.receive(99, 0)
    with broker.consume("work") as consumer:
        assert set(ids(take(consumer, 100))) == {f"{n}" for n in range(100)}


def test_a_publish_whose_reply_was_cut_may_be_done_again(server, broker, proxy):
    with opened(server, port=proxy.port) as cut:
        cut.publish("work", messages(1))
        proxy.cut_after(30)
        with pytest.raises(BrokerUnavailable):
            cut.publish("work", messages(50))
        cut.publish("work", messages(50))
    with broker.consume("work", prefetch=500) as consumer:
        assert set(ids(drain(consumer))) == {f"normal-{n}" for n in range(50)}


def test_a_reject_whose_reply_was_cut_is_in_one_place(server, broker, proxy):
    broker.publish("work", messages(3))
    with opened(server, port=proxy.port) as cut:
        consumer = cut.consume("work")
        deliveries = take(consumer, 3)
        proxy.cut_after(0)
        with pytest.raises(BrokerUnavailable):
            consumer.reject(deliveries, "cut")
    dead = [one.message.id for one in broker.dead_letters("work")]
    with broker.consume("work") as consumer:
        assert sorted(dead + ids(drain(consumer))) == ids(deliveries)


def test_a_connection_that_was_cut_while_idle_is_replaced_quietly(server, broker):
    broker.publish("work", messages(1))
    time.sleep(1.1)
    server.cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    broker.publish("work", messages(1))


def test_killed_while_waiting(server, broker):
    consumer = broker.consume("work")
    timer = threading.Timer(0.3, lambda: server.cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
    timer.start()
    with pytest.raises(BrokerUnavailable):
        consumer.receive(1, 20)
    timer.join()
    consumer.close()


def test_entries_that_others_delete_while_they_are_held(server, broker):
    broker.publish("work", messages(6))
    with broker.consume("work") as consumer:
        deliveries = take(consumer, 6)
        server.cli("XTRIM", "work", "MAXLEN", "0")
        consumer.ack(deliveries[:1])
        consumer.release(deliveries[1:2])
        consumer.release(deliveries[2:3], failed=True)
        consumer.reject(deliveries[3:4], "bad")
        assert consumer.receive(6, 0.1) == []
    with broker.consume("work") as consumer:
        assert consumer.receive(6, 1.5) == []
    assert [one.message.id for one in broker.dead_letters("work")] == ["normal-3"]
    assert pending(server) == 0
    assert broker.depth("work").ready == 0


def test_entries_that_others_delete_while_nobody_has_them(server, broker):
    broker.publish("work", messages(6))
    with broker.consume("work") as consumer:
        take(consumer, 3)
    server.cli("XTRIM", "work", "MAXLEN", "1")
    assert broker.depth("work").ready >= 0
    with broker.consume("work") as consumer:
        assert ids(drain(consumer)) == ["normal-5"]
    assert pending(server) == 0


# details


def test_an_id_that_is_no_text_is_refused_and_costs_nothing(broker):
    with pytest.raises(BrokerRefused, match="no text"):
        broker.publish("work", [Message("good", b""), Message("bad \ud800", b"")])
    assert broker.depth("work").ready == 0


def test_a_waiting_consumer_is_woken_at_once(server, broker):
    with broker.consume("work") as consumer, opened(server) as publisher:
        publisher.declare("work")
        sent = []

        def publish():
            time.sleep(0.7)
            sent.append(clock())
            publisher.publish("work", messages(100))

        thread = threading.Thread(target=publish)
        thread.start()
        deliveries = consumer.receive(100, 20)
        assert clock() - sent[0] < 0.3
        assert len(deliveries) == 100, "a batch that was published together is delivered together"
        thread.join()


def test_both_lanes_at_once_are_no_more_than_was_asked_for(server, broker):
    with broker.consume("work", prefetch=1) as consumer:
        received = []
        thread = threading.Thread(target=lambda: received.extend(consumer.receive(1, 20)))
        thread.start()
        time.sleep(0.2)
        broker.publish("work", [Message("normal", b""), Message("high", b"", high=True)])
        thread.join()
        assert len(received) == 1
        assert pending(server) + pending(server, "work.high") <= 2
        consumer.ack(received)
        (second,) = take(consumer, 1)
        assert second.attempt == 1
        assert {received[0].message.id, second.message.id} == {"normal", "high"}


def test_more_than_fits_into_one_chunk(broker):
    broker.publish("work", messages(2500))
    broker.publish("work", [Message(f"large-{n}", b"x" * 2_000_000) for n in range(7)])
    assert broker.depth("work").ready == 2507
    with broker.consume("work", prefetch=5000) as consumer:
        deliveries = take(consumer, 2507)
        consumer.reject(deliveries[:2300], "bad")
        consumer.release(deliveries[2300:2400])
        consumer.ack(deliveries[2400:])
    assert broker.depth("work").dead == 2300
    assert broker.requeue_dead("work", limit=2100, reason="ba") == 2100
    assert broker.purge_dead("work", reason="other") == 0
    assert broker.purge_dead("work") == 200
    assert broker.purge("work") == 2200
    assert broker.depth("work").ready == 0


def test_dead_letters_are_put_back_once_by_two_at_the_same_time(server, broker):
    broker.publish("work", messages(3000))
    with broker.consume("work", prefetch=3000) as consumer:
        consumer.reject(take(consumer, 3000), "bad")
    moved = []
    run_all([lambda: moved.append(opened(server).requeue_dead("work"))] * 2)
    assert sum(moved) == 3000
    assert broker.depth("work").ready == 3000


def test_a_message_taken_again_by_the_same_consumer_is_not_settled_by_the_first_delivery(server):
    with opened(server, lease=0.3) as broker:
        broker.declare("work")
        broker.publish("work", messages(1))
        with broker.consume("work") as consumer:
            (first,) = take(consumer, 1)
            time.sleep(0.4)
            (second,) = take(consumer, 1)
            assert second.attempt == 2
            consumer.ack([first])
            assert pending(server) == 1
            consumer.ack([second])
            assert pending(server) == 0


def test_depth_of_a_large_queue_is_quick(server, broker):
    body = b"x" * 10
    for start in range(0, 100_000, 10_000):
        broker.publish("work", [Message(f"{n}", body) for n in range(start, start + 10_000)])
    with broker.consume("work", prefetch=1000) as consumer:
        take(consumer, 1000)
        started_at = clock()
        depths = [broker.depth("work") for _ in range(20)]
        assert clock() - started_at < 20 * 0.05
        assert {(one.ready, one.in_flight) for one in depths} == {(99_000, 1000)}
    assert broker.purge("work") == 100_000
