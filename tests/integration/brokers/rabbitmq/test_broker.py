"""What the RabbitMQ broker promises beyond the contract: its doors, its exchanges, its connections."""

import random
import shlex
import threading
import time
from urllib.parse import quote

import pytest

from labmon.brokers import open_broker
from labmon.brokers.base import Message
from labmon.brokers.rabbitmq import topology
from labmon.brokers.rabbitmq.broker import RabbitBroker
from labmon.brokers.rabbitmq.connection import RabbitEndpoint
from labmon.config.load import load
from labmon.errors import BrokerRefused, BrokerUnavailable
from tests.conftest import started
from tests.contract.test_broker import drain, ids, messages, run_all, take
from tests.support.rabbitmq_queues import METRICS, SEED, account, eventually, received
from tests.support.rabbitmq_server import RabbitServer


def assert_finished(consumer):
    """It notices that its connection is gone, at the latest when it has handed out what it has fetched."""
    with pytest.raises(BrokerUnavailable):
        for _ in range(1000):
            consumer.receive(1, 1.0)


# the exchanges


def test_others_can_listen_in(broker, channel):
    for exchange in ("labmon", "labmon.high"):
        channel.queue_declare(f"observer.{exchange}", durable=True)
        channel.queue_bind(f"observer.{exchange}", exchange, "metrics.*")
    broker.publish(
        "metrics_queue",
        [
            Message.new(b"normal", "metrics.collected"),
            Message.new(b"urgent", "metrics.collected", high=True),
            Message.new(b"no metrics", "elsewhere"),
        ],
    )
    eventually(lambda: broker.depth("metrics_queue").ready, 3)
    assert channel.basic_get("observer.labmon", auto_ack=True)[2] == b"normal"
    assert channel.basic_get("observer.labmon.high", auto_ack=True)[2] == b"urgent"
    keys = {one.message.body: one.message.routing_key for one in received(broker, 3)}
    assert keys == {
        b"normal": "metrics.collected",
        b"urgent": "metrics.collected",
        b"no metrics": "elsewhere",
    }


def test_a_binding_that_somebody_removed_is_made_again(opened, broker, channel):
    channel.queue_unbind("metrics_queue", "labmon", "metrics.#")
    opened().publish("metrics_queue", [Message.new(SEED, "metrics.collected")])
    assert len(received(broker, 1)) == 1


def test_a_binding_that_goes_while_publishing_is_no_loss(broker, channel):
    broker.publish("metrics_queue", [Message.new(SEED, "metrics.collected")])
    channel.queue_unbind("metrics_queue", "labmon", "metrics.#")
    with pytest.raises(BrokerRefused, match="metrics.collected.*labmon setup-queues"):
        broker.publish("metrics_queue", [Message.new(SEED, "metrics.collected")])


def test_an_exchange_of_another_kind_is_explained(opened, channel):
    channel.exchange_declare("labmon", "direct", durable=True)
    with pytest.raises(BrokerRefused, match="exchange labmon.*another type.*'direct'.*setup-queues"):
        opened().declare("metrics_queue")


# queues that are not as labmon makes them


def test_a_classic_queue_counts_attempts_all_the_same(opened, channel):
    for name in ("metrics_queue", "metrics_queue.high", "metrics_queue.dead"):
        channel.queue_declare(name, durable=True)
    broker = opened()
    assert broker.declare("metrics_queue")  # the exchanges
    broker.publish("metrics_queue", [Message("poison", SEED, "metrics.collected", high=True)])
    attempts = []
    with broker.consume("metrics_queue") as consumer:
        for _ in range(5):
            deliveries = take(consumer, 1)
            attempts.append(deliveries[0].attempt)
            assert deliveries[0].message == Message("poison", SEED, "metrics.collected", high=True)
            consumer.release(deliveries, failed=True)
        consumer.reject(take(consumer, 1), "failed 6 times")
    assert attempts == [1, 2, 3, 4, 5]
    (dead,) = broker.dead_letters("metrics_queue")
    assert dead.attempt == 6


def test_other_arguments_are_explained_with_the_way_out(opened, channel):
    channel.queue_declare("metrics_queue", durable=True)
    channel.queue_declare("metrics_queue.high", durable=True, arguments={"x-queue-type": "quorum"})
    broker = opened()
    broker.declare("metrics_queue")
    classic, quorum, *policies = broker.advice()
    assert classic.startswith("metrics_queue: is a classic queue")
    assert "rabbitmqctl delete_queue metrics_queue;" in classic and "labmon setup-queues" in classic
    assert quorum.startswith("metrics_queue.high: is a quorum queue without labmon's arguments")
    assert all(line.startswith("policy ") for line in policies)
    broker.publish("metrics_queue", [Message.new(SEED, "metrics.collected")])
    assert len(received(broker, 1)) == 1


@pytest.mark.parametrize("arguments", [{}, {"x-queue-type": "quorum", "x-delivery-limit": 5}])
def test_one_that_appears_with_other_arguments_is_refused_with_the_way_out(broker, channel, arguments):
    channel.queue_declare("odd", durable=True, arguments=arguments)
    with pytest.raises(BrokerRefused, match="^[^\n]*queue odd is there with another .*setup-queues$"):
        with broker._session() as session:
            topology.declare_queue(session, "odd", {"x-queue-type": "quorum", "x-delivery-limit": 9})
    assert broker.depth("metrics_queue").ready == 0


# set-up


def test_setup_says_what_it_made_and_what_was_there(opened, rabbitmq_server, vhost):
    broker = opened(
        ttl={"metrics_queue": 60.0}, management_url=f"http://127.0.0.1:{rabbitmq_server.management_port}"
    )
    names = ["exchange labmon", "exchange labmon.high"]
    names += ["metrics_queue", "metrics_queue.dead", "metrics_queue.high"]
    policies = ["policy labmon", "policy labmon-metrics_queue"]
    planned = [f"{name}: would be made" for name in names] + [f"{name}: would be set" for name in policies]
    assert broker.set_up(["metrics_queue"], dry_run=True) == planned
    assert not broker.is_declared("metrics_queue")
    made = [f"{name}: made" for name in names] + [f"{name}: set" for name in policies]
    assert broker.set_up(["metrics_queue"]) == made
    assert broker.set_up(["metrics_queue"]) == [f"{name}: was there" for name in names + policies]
    assert broker.advice() == []
    rabbitmq_server.api("DELETE", f"policies/{quote(vhost)}/labmon")
    (line,) = broker.advice()
    assert line.startswith("policy labmon: not set: rabbitmqctl set_policy -p ")
    body = {"pattern": "queue", "definition": {"max-length": 10**6}, "priority": 9, "apply-to": "queues"}
    rabbitmq_server.api("PUT", f"policies/{quote(vhost)}/theirs", body)
    eventually(
        lambda: [line.split(",")[0] for line in broker.advice()][1:],
        ["policy theirs: is in force for metrics_queue"],
    )


def test_the_policies_by_hand_are_the_same(opened, rabbitmq_server, vhost):
    opened().declare("metrics_queue")
    url = f"http://127.0.0.1:{rabbitmq_server.management_port}"
    ttl = {"metrics_queue": 60.0}
    for line in opened(ttl=ttl).advice():
        rabbitmq_server.ctl(*shlex.split(line.split(": ", 2)[2])[1:])
    assert opened(ttl=ttl, management_url=url).advice() == []


def test_what_the_server_gives_up_on_is_a_dead_letter_with_its_reason(
    opened, rabbitmq_server, vhost, channel
):
    broker = opened(
        ttl={"metrics_queue": 0.3}, management_url=f"http://127.0.0.1:{rabbitmq_server.management_port}"
    )
    broker.set_up(["metrics_queue"])
    broker.publish("metrics_queue", [Message("late", SEED, "metrics.collected", high=True)])
    eventually(lambda: broker.depth("metrics_queue").dead, 1)
    (dead,) = broker.dead_letters("metrics_queue", reason="expired")
    assert dead.message == Message("late", SEED, "metrics.collected", high=True)
    assert abs(dead.died_at.timestamp() - time.time()) < 10
    policy = {"pattern": "^metrics_queue$", "definition": {"delivery-limit": 2}, "priority": 9}
    rabbitmq_server.api("PUT", f"policies/{quote(vhost)}/few", policy | {"apply-to": "queues"})
    broker.publish("metrics_queue", [Message("poison", SEED, "metrics.collected")])
    with broker.consume("metrics_queue") as consumer:
        for _ in range(3):
            consumer.release(take(consumer, 1), failed=True)
    eventually(lambda: broker.depth("metrics_queue").dead, 2)
    (dead,) = broker.dead_letters("metrics_queue", reason="delivery_limit")
    assert dead.message == Message("poison", SEED, "metrics.collected")
    rabbitmq_server.api("DELETE", f"policies/{quote(vhost)}/labmon-metrics_queue")
    assert broker.requeue_dead("metrics_queue") == 2
    assert sorted(ids(received(broker, 2))) == ["late", "poison"]


# findings D14: 0 were said to be in flight while 313 were held
@pytest.mark.parametrize("held", [0, 5, 7])
def test_what_is_in_flight_is_not_known_rather_than_wrong(opened, rabbitmq_server, held):
    broker = opened(management_url=f"http://127.0.0.1:{rabbitmq_server.management_port}")
    broker.declare("metrics_queue")
    broker.publish("metrics_queue", messages(5) + messages(2, high=True))
    with broker.consume("metrics_queue") as consumer:
        take(consumer, held)
        assert broker.depth("metrics_queue").in_flight is None


@pytest.mark.parametrize(
    ("url", "says"),
    [("http://127.0.0.1:1", "connection refused"), ("http://127.0.0.1:{port}", "management_url")],
)
def test_a_management_api_that_is_not_there_stops_nobody(opened, rabbitmq_server, caplog, url, says):
    broker = opened(management_url=url.format(port=rabbitmq_server.port))
    broker.declare("metrics_queue")
    assert broker.depth("metrics_queue").ready == 0
    assert not [line for line in broker.set_up(["metrics_queue"]) if line.startswith("policy")]
    trouble, line = broker.advice()
    assert says in trouble
    assert line.startswith("policy labmon: worth setting") and "rabbitmqctl set_policy" in line
    assert caplog.text == ""


# findings C13: the same warning 12 times in one run
def test_a_management_api_that_refuses_is_reported_once(opened, rabbitmq_server, vhost, caplog):
    url = f"http://127.0.0.1:{rabbitmq_server.management_port}"
    with account(rabbitmq_server, vhost, configure=".*", write=".*", read=".*") as login:  # without the tag
        broker = opened(management_url=url, **login)
        lines = broker.set_up(["metrics_queue"])
        for _ in range(6):
            broker.depth("metrics_queue")
        lines += broker.advice()
        broker.close()
    assert len([line for line in lines if "set_user_tags limited policymaker" in line]) == 1
    assert caplog.text == ""


def test_a_management_url_that_is_none_is_refused(opened):
    for url in ("mq.example.edu:15672", "ftp://mq", "http://mq:port"):
        with pytest.raises(BrokerRefused, match="management_url"):
            opened(management_url=url)


# settling


def test_settling_in_any_order_settles_just_that(broker):
    rng = random.Random(7)
    broker.publish("metrics_queue", messages(300) + messages(100, high=True))
    fate = {}
    with broker.consume("metrics_queue", prefetch=120) as consumer:
        held = []
        while len(fate) < 400:
            held += consumer.receive(rng.randint(1, 60), 0.5)
            rng.shuffle(held)
            chosen = [held.pop() for _ in range(rng.randint(0, len(held)))]
            how = rng.choice(["ack", "ack", "reject", "release"])
            if how == "release":
                consumer.release(chosen, failed=rng.random() < 0.5)
                continue
            consumer.ack(chosen) if how == "ack" else consumer.reject(chosen, "bad")
            fate |= {one.message.id: how for one in chosen}
    eventually(lambda: broker.depth("metrics_queue").ready, 0)
    dead = [one.message.id for one in broker.dead_letters("metrics_queue", limit=1000)]
    assert sorted(dead) == sorted(id for id, how in fate.items() if how == "reject")


def test_a_tag_of_another_consumer_is_never_sent(broker):
    broker.publish("metrics_queue", messages(2))
    with broker.consume("metrics_queue") as one:
        stale = take(one, 2)
    with broker.consume("metrics_queue") as other:
        take(other, 2)
        other.ack(stale)
        other.reject(stale, "stale")
    eventually(lambda: broker.depth("metrics_queue").ready, 2)
    assert broker.dead_letters("metrics_queue") == []


# connections


def test_by_the_configuration(rabbitmq_server, vhost):
    environ = {
        "QUEUE_TYPE": "rabbitmq",
        "QUEUE_HOST": "127.0.0.1",
        "QUEUE_PORT": str(rabbitmq_server.port),
        "QUEUE_USER": "guest",
        "QUEUE_PASSWORD": "guest",
        "LABMON_QUEUE_VHOST": vhost,
    }
    config = load(environ=environ).config
    with open_broker(config.queue, store_url="") as broker:
        for queue in config.queue.names:
            assert broker.declare(queue)
        broker.publish("alert_queue", [Message.new(b"{}", "alerts.critical", high=True)])
        eventually(lambda: broker.depth("alert_queue").ready_high, 1)


def test_several_hosts_are_tried_in_turn(opened, rabbitmq_server):
    broker = opened(host=f"127.0.0.1:1, 127.0.0.1:2,[127.0.0.1]:{rabbitmq_server.port}")
    broker.declare("metrics_queue")
    broker.publish("metrics_queue", messages(1))
    with broker.consume("metrics_queue") as consumer:
        assert len(take(consumer, 1)) == 1
    with pytest.raises(BrokerUnavailable, match="127.0.0.1:1 .*refused"):
        opened(host="127.0.0.1:1,127.0.0.1:2").declare("metrics_queue")
    with pytest.raises(BrokerRefused, match="refused the login of guest.*password"):
        opened(host=f"127.0.0.1:1,127.0.0.1:{rabbitmq_server.port}", password="hunter2").declare(
            "metrics_queue"
        )


def test_what_cannot_work_is_refused_in_one_line(opened, rabbitmq_server):
    for address, says in (
        ({"vhost": "nowhere"}, "vhost nowhere not found.*vhost"),
        ({"user": "nobody", "password": "hunter2"}, "login of nobody.*password"),
        ({"tls": True}, "no TLS.*tls"),
        ({"tls": True, "tls_ca": "/nowhere.pem"}, "/nowhere.pem.*tls_ca"),
    ):
        with pytest.raises(BrokerRefused, match=says) as caught:
            opened(**address).declare("metrics_queue")
        assert "\n" not in str(caught.value) and "hunter2" not in str(caught.value)
    with pytest.raises(BrokerUnavailable, match="AMQP port"):
        opened(port=rabbitmq_server.management_port).declare("metrics_queue")
    with pytest.raises(BrokerRefused, match="host"):
        opened(host=" , ")


def test_large_bodies_are_not_all_sent_at_once(broker):
    sent = {str(n): bytes([n]) * 3_000_000 for n in range(20)}
    broker.publish("metrics_queue", [Message(id, body) for id, body in sent.items()])
    with broker.consume("metrics_queue", prefetch=5) as consumer:
        assert {one.message.id: one.message.body for one in drain(consumer)} == sent


def test_pika_says_nothing_on_the_terminal(opened, capfd):
    with pytest.raises(BrokerUnavailable):
        opened(host="127.0.0.1:1").declare("metrics_queue")
    with pytest.raises(BrokerRefused):
        opened().publish("metrics_queue", messages(1))
    assert capfd.readouterr() == ("", "")


def test_an_id_that_does_not_fit_is_refused(broker):
    for message in (
        Message("x" * 256, b""),
        Message("\ud800", b""),
        Message("a", b"", "\ud800"),
        Message("a", b"", "metrics.\ud800"),
    ):
        with pytest.raises(BrokerRefused):
            broker.publish("metrics_queue", [message])
    long = [Message("x" * 255, b"", "y" * 300), Message("y", b"", "metrics." + "z" * 300)]
    broker.publish("metrics_queue", long)
    assert sorted((one.message for one in received(broker, 2)), key=lambda one: one.id) == long


def test_heartbeats_go_on_while_the_database_is_slow(opened):
    broker = opened(heartbeat=1)
    broker.declare("metrics_queue")
    broker.publish("metrics_queue", messages(2))
    with broker.consume("metrics_queue") as consumer:
        deliveries = take(consumer, 2)
        time.sleep(5)
        consumer.ack(deliveries)
        assert consumer.receive(1, 0.2) == []
    assert broker.depth("metrics_queue").ready == 0


def test_a_connection_closed_by_the_server_in_the_middle_of_a_batch(broker, rabbitmq_server, vhost):
    broker.publish("metrics_queue", messages(20))
    consumer = broker.consume("metrics_queue")
    deliveries = take(consumer, 10)
    assert rabbitmq_server.hang_up(vhost, "labmon consumer") == 1
    assert_finished(consumer)
    for call in (
        lambda: consumer.ack(deliveries),
        lambda: consumer.release(deliveries),
        lambda: consumer.reject(deliveries, "bad"),
    ):
        with pytest.raises(BrokerUnavailable, match="Closed by the test"):
            call()
    consumer.close()
    assert {one.attempt for one in received(broker, 20)} == {2}
    assert broker.dead_letters("metrics_queue") == []


def test_connections_closed_while_publishing_lose_nothing_that_was_confirmed(broker, rabbitmq_server, vhost):
    confirmed, failures, stop = [], [], threading.Event()

    def publish():
        for batch in range(400):
            if stop.is_set():
                break
            sent = [Message(f"{batch}-{n}", SEED, "metrics.collected") for n in range(100)]
            try:
                broker.publish("metrics_queue", sent)
                confirmed.extend(one.id for one in sent)
            except BrokerUnavailable as error:
                failures.append(error)

    def cut():
        try:
            for _ in range(3):
                rabbitmq_server.hang_up(vhost, "labmon publisher")
        finally:
            stop.set()

    run_all([publish, cut])
    assert failures and confirmed
    left = set(confirmed)
    with broker.consume("metrics_queue", prefetch=1000) as consumer:
        while left and (deliveries := consumer.receive(1000, 3.0)):
            consumer.ack(deliveries)
            left -= set(ids(deliveries))
    assert not left


def test_a_queue_deleted_under_its_consumer(broker, channel):
    broker.publish("metrics_queue", messages(1))
    consumer = broker.consume("metrics_queue")
    deliveries = take(consumer, 1)
    channel.queue_delete("metrics_queue")
    with pytest.raises(BrokerUnavailable, match="metrics_queue"):
        consumer.receive(1, 10.0)
    with pytest.raises(BrokerUnavailable):
        consumer.ack(deliveries)
    consumer.close()
    with pytest.raises(BrokerRefused, match="metrics_queue.*labmon setup-queues"):
        broker.consume("metrics_queue")
    assert broker.declare("metrics_queue")
    broker.publish("metrics_queue", messages(1))
    assert len(received(broker, 1)) == 1


def test_a_full_queue_pushes_back(broker, rabbitmq_server, vhost):
    policy = {"pattern": "^metrics_queue$", "definition": {"max-length": 10, "overflow": "reject-publish"}}
    rabbitmq_server.api("PUT", f"policies/{quote(vhost)}/short", policy | {"apply-to": "queues"})
    with pytest.raises(BrokerUnavailable, match="full"):
        for _ in range(10):
            broker.publish("metrics_queue", messages(50))
    broker.purge("metrics_queue")
    eventually(lambda: broker.depth("metrics_queue").ready, 0)
    broker.publish("metrics_queue", messages(1))


def test_a_server_short_of_memory(opened, rabbitmq_server):
    broker = opened(blocked_timeout=1.0)
    broker.declare("metrics_queue")
    broker.publish("metrics_queue", messages(3))
    with broker.consume("metrics_queue") as consumer:
        deliveries = take(consumer, 3)
        rabbitmq_server.ctl("set_vm_memory_high_watermark", "0.00001")
        try:
            for call in (
                lambda: broker.publish("metrics_queue", messages(2)),
                lambda: consumer.reject(deliveries[:1], "bad"),
            ):
                began = time.monotonic()
                with pytest.raises(BrokerUnavailable, match="short of memory or disk"):
                    call()
                assert time.monotonic() - began < 10
            assert broker.depth("metrics_queue").dead == 0
            consumer.ack(deliveries[1:])
        finally:
            rabbitmq_server.ctl("set_vm_memory_high_watermark", "0.6")
        eventually(lambda: publishes(broker), True)
        consumer.reject(deliveries[:1], "bad")
    # The copies of the time without memory may have arrived all the same.
    assert {one.message.id for one in broker.dead_letters("metrics_queue")} == {"normal-0"}


def publishes(broker):
    try:
        broker.publish("metrics_queue", messages(1))
    except BrokerUnavailable:
        return False
    return True


def test_closing_a_blocked_connection_does_not_wait_for_long(opened, rabbitmq_server):
    broker = opened(blocked_timeout=60.0)
    broker.declare("metrics_queue")
    rabbitmq_server.ctl("set_vm_memory_high_watermark", "0.00001")
    try:
        thread = threading.Thread(target=lambda: publishes(broker))
        thread.start()
        time.sleep(1)
        began = time.monotonic()
        broker._publisher._channel.session.close()
        thread.join(20)
        assert not thread.is_alive()
        assert time.monotonic() - began < 10
    finally:
        rabbitmq_server.ctl("set_vm_memory_high_watermark", "0.6")


def test_confirmed_is_on_the_disk(own_rabbitmq_server):
    with RabbitBroker(RabbitEndpoint("127.0.0.1", own_rabbitmq_server.port), bindings=METRICS) as broker:
        broker.declare("metrics_queue")
        sent = [Message(str(n), SEED, "metrics.collected", high=n % 5 == 0) for n in range(3000)]
        broker.publish("metrics_queue", sent)
        with broker.consume("metrics_queue") as consumer:
            consumer.reject(take(consumer, 100), "bad")
            own_rabbitmq_server.kill()
            assert_finished(consumer)
        own_rabbitmq_server.start()
        dead = {one.message.id for one in broker.dead_letters("metrics_queue", limit=1000)}
        assert len(dead) == 100
        with broker.consume("metrics_queue", prefetch=1000) as consumer:
            assert set(ids(drain(consumer))) | dead == {one.id for one in sent}


# TLS


@pytest.fixture(scope="module")
def tls_server(certificates):
    yield from started(lambda: RabbitServer(certificates=certificates))


@pytest.fixture
def over_tls(tls_server):
    brokers = []

    def open(**options):
        address = {"host": "127.0.0.1", "port": tls_server.tls_port, "tls": True} | options
        brokers.append(RabbitBroker(RabbitEndpoint(**address)))
        return brokers[-1]

    yield open
    for broker in brokers:
        broker.close()


def test_tls_by_the_configuration(tls_server, certificates):
    environ = {
        "QUEUE_TYPE": "rabbitmq",
        "QUEUE_HOST": "127.0.0.1",
        "QUEUE_PORT": str(tls_server.tls_port),
        "LABMON_QUEUE_TLS": "true",
        "LABMON_QUEUE_TLS_CA": str(certificates / "ca.pem"),
    }
    with open_broker(load(environ=environ).config.queue, store_url="") as broker:
        broker.declare("metrics_queue")
        broker.publish("metrics_queue", [Message("large", b"x" * 500_000, "metrics.collected")])
        (delivery,) = received(broker, 1)
        assert delivery.message.body == b"x" * 500_000


def test_a_certificate_of_an_unknown_ca_is_refused(over_tls):
    with pytest.raises(BrokerRefused, match="certificate is not trusted.*tls_ca"):
        over_tls().declare("metrics_queue")
    over_tls(tls_verify=False).declare("metrics_queue")


def test_a_certificate_of_another_host_is_refused(over_tls, certificates):
    with pytest.raises(BrokerRefused, match="certificate is not trusted.*tls_ca"):
        over_tls(host="localhost", tls_ca=str(certificates / "ca.pem")).declare("metrics_queue")


def test_without_tls_to_a_port_that_wants_it(over_tls):
    with pytest.raises(BrokerUnavailable, match="without TLS"):
        over_tls(tls=False).declare("metrics_queue")
