"""The accounts of examples/accounts: each may do what it is for, and no more. findings C5."""

import re
import shlex
from pathlib import Path

import psycopg
import pytest

from labmon import cleartext
from labmon.brokers.base import Message
from labmon.brokers.postgres.broker import PostgresBroker
from labmon.brokers.rabbitmq.broker import RabbitBroker
from labmon.brokers.rabbitmq.connection import RabbitEndpoint
from labmon.brokers.redis.broker import RedisBroker
from labmon.brokers.redis.connection import RedisEndpoint
from labmon.errors import BrokerForbidden, BrokerRefused, Exit
from tests.contract.test_broker import drain, ids, messages, take

README = (Path(__file__).parents[3] / "examples/accounts/README.md").read_text()
QUEUES = ["discovery_queue", "metrics_queue", "alert_queue"]
BINDINGS = dict(zip(QUEUES, ["discovery.#", "metrics.#", "alerts.#"], strict=True))


def commands(program):
    return [shlex.split(line) for line in README.splitlines() if line.startswith(f"    {program} ")]


class Rabbit:
    def __init__(self, server, vhost):
        self.server, self.vhost = server, vhost
        for _, _, _, _, user, *permissions in commands("rabbitmqctl"):
            server.api("PUT", f"users/{user}", {"password": "password", "tags": ""})
            names = dict(zip(["configure", "write", "read"], permissions, strict=True))
            server.api("PUT", f"permissions/{vhost.replace(' ', '%20')}/{user}", names)

    def open(self, user, password="password"):
        endpoint = RabbitEndpoint(
            "127.0.0.1", self.server.port, user, password, vhost=self.vhost, queues=QUEUES
        )
        return RabbitBroker(endpoint, bindings=BINDINGS)

    def close(self):
        for command in commands("rabbitmqctl"):
            self.server.api("DELETE", f"users/{command[4]}")


class Redis:
    def __init__(self, server):
        self.server = server
        for command in commands("redis-cli"):
            server.cli(*command[1:])

    def open(self, user, password="password"):
        return RedisBroker(RedisEndpoint("127.0.0.1", self.server.port, user=user, password=password))

    def close(self):
        pass


@pytest.fixture(params=["rabbitmq", "redis"])
def accounts(request, monkeypatch):
    if request.param == "redis":
        yield Redis(request.getfixturevalue("own_redis_server"))
        return
    monkeypatch.setattr("labmon.brokers.rabbitmq.publisher.NEW_QUEUE", 0.0)  # nobody kills this server
    server = request.getfixturevalue("rabbitmq_server")
    with server.vhost() as vhost:
        accounts = Rabbit(server, vhost)
        yield accounts
        accounts.close()


def test_setup_makes_the_queues_and_does_everything_else(accounts):
    with accounts.open("labmon-setup") as broker:
        assert not broker.is_declared("metrics_queue")
        broker.set_up(QUEUES)
        assert all(broker.is_declared(queue) for queue in QUEUES)
        broker.advice()
        does_the_work(broker)


def does_the_work(broker):
    assert broker.declare("metrics_queue") is False
    broker.publish("metrics_queue", messages(5) + messages(2, high=True))
    with broker.consume("metrics_queue") as consumer:
        deliveries = take(consumer, 7)
        consumer.ack(deliveries[:2])
        consumer.release(deliveries[2:4], failed=True)
        consumer.reject(deliveries[4:], "bad")
    assert len(broker.dead_letters("metrics_queue")) == 3
    assert broker.depth("metrics_queue").dead == 3
    assert broker.requeue_dead("metrics_queue", limit=1) == 1
    with broker.consume("metrics_queue") as consumer:
        assert len(drain(consumer)) == 3
    broker.publish("metrics_queue", messages(1))
    assert broker.purge("metrics_queue") == 1
    assert broker.purge_dead("metrics_queue") == 2


def forbidden(call):
    with pytest.raises(BrokerForbidden, match=r"^[^\n]*(set_permissions|ACL SETUSER) [^\n]*$") as caught:
        call()
    assert caught.value.exit_code == Exit.PERMISSION
    return str(caught.value)


def test_a_worker_does_its_work_and_makes_nothing(accounts):
    with accounts.open("labmon-setup") as broker:
        broker.set_up(QUEUES)
    with accounts.open("labmon-worker") as broker:
        does_the_work(broker)
        forbidden(lambda: broker.declare("other_queue"))


def test_a_collector_publishes_and_reads_nothing(accounts):
    with accounts.open("labmon-setup") as setup:
        setup.set_up(QUEUES)
        with accounts.open("labmon-collector") as broker:
            assert broker.declare("metrics_queue") is False
            broker.publish(
                "metrics_queue", [Message("a", b"", "metrics.collected"), Message("b", b"", high=True)]
            )
            for call in (
                lambda: broker.consume("metrics_queue").receive(1, 1.0),
                lambda: broker.dead_letters("metrics_queue"),
                lambda: broker.purge("metrics_queue"),
                lambda: broker.purge_dead("metrics_queue"),
            ):
                forbidden(call)
        with setup.consume("metrics_queue") as consumer:
            assert sorted(ids(drain(consumer))) == ["a", "b"]


def test_the_command_that_an_error_names_grants_what_is_missing(accounts):
    """Each error is followed, until the worker's work is done by an account that could do nothing."""
    with accounts.open("labmon-setup") as broker:
        broker.set_up(QUEUES)
    user = "labmon-collector"
    if isinstance(accounts, Rabbit):
        vhost = accounts.vhost.replace(" ", "%20")
        accounts.server.api(
            "PUT", f"permissions/{vhost}/{user}", {"configure": "^$", "write": "^$", "read": "^$"}
        )
    else:
        accounts.server.cli("ACL", "SETUSER", user, "reset", "on", ">password", "+client|setname")
    for _ in range(40):
        with accounts.open(user) as broker:
            try:
                does_the_work(broker)
                return
            except BrokerForbidden as error:
                command = shlex.split(re.search("Grant it with: (.*)$", str(error))[1])
        assert command[0] in ("rabbitmqctl", "redis-cli") and user in command
        run = accounts.server.ctl if command[0] == "rabbitmqctl" else accounts.server.cli
        run(*command[1:])
        with accounts.open("labmon-setup") as setup:
            setup.purge("metrics_queue")
            setup.purge_dead("metrics_queue")
    pytest.fail("it never had enough")


def test_another_account_at_the_queue_in_postgresql(postgres_server, postgres_url):
    with PostgresBroker(postgres_url) as owner, psycopg.connect(postgres_url, autocommit=True) as session:
        for queue in QUEUES:
            owner.declare(queue)
        with psycopg.connect(postgres_server.socket_conninfo("postgres"), autocommit=True) as administrator:
            administrator.execute("DROP ROLE IF EXISTS labmon_worker")
            administrator.execute("CREATE ROLE labmon_worker LOGIN PASSWORD 'password'")
        url = re.sub("//[^@]*@", "//labmon_worker:password@", postgres_url)
        with PostgresBroker(url) as broker:
            with pytest.raises(BrokerForbidden, match=r"GRANT SELECT.* TO labmon_worker$"):
                broker.publish("metrics_queue", messages(1))
            (grant,) = [line.strip() for line in README.splitlines() if line.startswith("    GRANT ")]
            session.execute(grant)
            does_the_work(broker)
            session.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
            with pytest.raises(BrokerForbidden):
                session.execute("REVOKE INSERT ON labmon_queue_name FROM labmon_worker")
                broker.declare("other_queue")
        session.execute("DROP OWNED BY labmon_worker")


# findings B3: a password in the clear to a host that is not local
@pytest.mark.parametrize("password", ["password", "wrong"])
def test_a_password_in_the_clear_is_warned_of_once(accounts, monkeypatch, caplog, password):
    with accounts.open("labmon-setup") as broker:
        broker.set_up(QUEUES)
    monkeypatch.setattr(cleartext, "is_local", lambda host: False)
    monkeypatch.setattr(cleartext, "_warned", set())
    for _ in range(3):
        with accounts.open("labmon-worker", password) as broker:
            if password == "wrong":
                with pytest.raises(BrokerRefused):
                    broker.depth("metrics_queue")
            else:
                broker.depth("metrics_queue")
                broker.publish("metrics_queue", messages(1))
                broker.consume("metrics_queue").close()
    (record,) = [one for one in caplog.records if "not encrypted" in one.getMessage()]
    assert "[queue] tls = true" in record.getMessage()
