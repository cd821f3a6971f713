"""A campus with `labmon consume` at work, in which several stories of alerts happen at the same time.

Each story has a lab, machines, rules and a listener of its own: it asserts what it is told, and that this is
all.
"""

import os
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import psycopg

from labmon.brokers import open_broker
from labmon.brokers.base import Message
from labmon.config.load import load
from labmon.errors import BrokerError
from labmon.messages import Metrics, Readings, encode, utcnow
from tests.acceptance.conftest import temporary_lab
from tests.chaos.conftest import environ_of
from tests.support.rabbitmq_server import RabbitServer
from tests.support.receiver import Receiver
from tests.support.redis_server import RedisServer
from tests.support.servers import PostgresServer

BROKERS = {"store": None, "postgres": PostgresServer, "redis": RedisServer, "rabbitmq": RabbitServer}
"""The queue's servers. `store`: it is in the store's database, so that rows and ack commit together."""

TICK = 5.0
"""Seconds between two looks of `labmon consume` at what no reading triggers."""

MACHINES = 6
"""Of each story."""


class Story:
    """A lab, who is told of it, and what was told so far."""

    def __init__(self, site, name, number):
        self.site = site
        self.name = name
        self.lab = number
        self.systems = list(range(MACHINES * number + 1, MACHINES * (number + 1) + 1))
        self.receiver = Receiver()
        self._seen = 0

    @property
    def target(self):
        return (
            f'{{name = "{self.name}", url = "{self.receiver.url}", secret = "s3cret", labs = [{self.lab}]}}'
        )

    def run(self, *arguments):
        return self.site.labmon.run(*arguments)

    def publish(self, *readings):
        """(machine of the story from 0, seconds ago, readings) of each; until the broker has them."""
        self.site.publish(*((self.systems[place], ago, values) for place, ago, values in readings))

    def minutes(self, place, ago=0, **series):
        """One reading a minute, the last one so many minutes ago; until they are stored."""
        ((metric, values),) = series.items()
        last = 60 * (ago + len(values) - 1)
        before = self._stored(place)
        self.publish(*((place, last - 60 * n, {metric: float(value)}) for n, value in enumerate(values)))
        self.site.wait(lambda: self._stored(place) == before + len(values))

    def _stored(self, place):
        query = "SELECT count(*) FROM metrics WHERE system_id = %s"
        return self.site.ask(query, self.systems[place])[0][0]

    def heard(self):
        """(machine from 0; -1: the lab, alert, state) of each word so far."""
        return [
            (self.systems.index(system) if system else -1, kind, state)
            for system, kind, state in self.receiver.alerts
        ]

    def news(self, *expected, seconds=60):
        """Wait until exactly these have been told since the last time, in any order."""
        self.site.wait(lambda: len(self.heard()) >= self._seen + len(expected), seconds)
        found = self.heard()[self._seen :]
        assert sorted(found) == sorted(expected), found
        self._seen += len(found)
        return [one for one in self.receiver.received if one.alerts][-len(found) :]

    def silence(self, seconds):
        """Nobody is told anything for so long."""
        time.sleep(seconds)
        assert self.heard()[self._seen :] == []

    def all_are(self, state, count):
        """Wait until so many words are in this state and none in another; forget the attempts until then."""
        query = "SELECT state, count(*) FROM deliveries WHERE target = %s GROUP BY state"
        self.site.wait(lambda: self.site.ask(query, self.name) == [(state, count)])
        self._seen = len(self.heard())

    def at_last(self, *expected, seconds=120):
        """Wait until these have been told; whatever was told twice was told in the same words.

        For when something died between telling and recording.
        """
        self.site.wait(lambda: set(expected) <= set(self.heard()[self._seen :]), seconds)
        self.site.wait(lambda: not self.site.ask("SELECT FROM deliveries WHERE state = 'waiting'"), seconds)
        assert set(self.heard()[self._seen :]) == set(expected)
        told = {(one["alert_id"], one.get("state"), one["timestamp"]) for one in self._documents()}
        assert len(told) == len(expected)
        self._seen = len(self.heard())

    def _documents(self):
        return [one for request in self.receiver.received for one in request.document["alerts"]][self._seen :]

    @contextmanager
    def measured(self, *places):
        """They are measured every second, meanwhile, and have been for the last seconds."""
        over = threading.Event()

        def measure():
            while not over.wait(1.0):
                self.publish(*((place, 0, {"load1": 1.0}) for place in places))

        self.publish(*((place, ago, {"load1": 1.0}) for ago in (4, 3, 2, 1, 0) for place in places))
        thread = threading.Thread(target=measure)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


class Site:
    """A broker, a store, the stories' labs, and `labmon consume`. `store` and `broker` may be stopped."""

    def __init__(self, kind, rules, stack):
        """The `rules` as TOML by story; each is of its lab alone."""
        self._stack = stack
        self.store = stack.enter_context(PostgresServer())
        self.broker = self.store if kind == "store" else stack.enter_context(BROKERS[kind]())
        self.labmon = stack.enter_context(temporary_lab())
        self.stories = {name: Story(self, name, number) for number, name in enumerate(rules, 1)}
        for story in self.stories.values():
            stack.enter_context(story.receiver)
        targets = ", ".join(story.target for story in self.stories.values())
        self.labmon.environ |= environ_of(self.broker) | {
            "LABMON_DATABASE_URL": self.store.url(),
            "LABMON_NOTIFY_TARGETS": f"[{targets}]",
            "LABMON_NOTIFY_GROUP_WAIT": "200ms",
            "LABMON_NOTIFY_GROUP_INTERVAL": "0s",
            "LABMON_QUEUE_LEASE": "5s",
        }
        if kind == "postgres":
            self.labmon.environ |= {
                "QUEUE_HOST": "127.0.0.1",
                "QUEUE_PORT": str(self.broker.port),
                "QUEUE_USER": self.broker.USER,
                "QUEUE_PASSWORD": self.broker.PASSWORD,
                "LABMON_QUEUE_DATABASE": "postgres",
            }
        self._config = load(environ=self.labmon.env).config
        self._sending = threading.Lock()
        self._client = None
        self._consumer = None
        stack.callback(self.stop)
        self._build(rules)

    def _build(self, rules):
        self.labmon.run("db", "migrate")
        labs = [(story.lab, one) for story in self.stories.values() for one in story.systems]
        with psycopg.connect(self.store.url()) as connection, connection.cursor() as cursor:
            cursor.execute("INSERT INTO departments (dept_id) VALUES (1)")
            cursor.executemany(
                "INSERT INTO labs (lab_id, dept_id, name) VALUES (%s, 1, %s)",
                [(story.lab, story.name) for story in self.stories.values()],
            )
            cursor.executemany(
                "INSERT INTO systems (lab_id, system_id, dept_id, ip_address, hostname) "
                "VALUES (%s, %s, 1, '10.0.0.0'::inet + %s, 'pc-' || %s)",
                [(lab, one, one, one) for lab, one in labs],
            )
        (self.labmon.folder / "rules.toml").write_text(
            "".join(
                rules[name].replace("[[rule]]", f"[[rule]]\nlab = {story.lab}")
                for name, story in self.stories.items()
            )
        )
        self.labmon.run("alerts", "rules", "import", self.labmon.folder / "rules.toml", "--replace")
        self.labmon.run("setup-queues")
        self.start()
        self.wait(lambda: self.ask("SELECT FROM workers WHERE main_pid = %s", self._consumer.pid))

    def start(self):
        self._consumer = self.labmon.start("consume")

    def kill(self):
        os.kill(self._consumer.pid, signal.SIGKILL)
        self._consumer.communicate()

    def stop(self):
        if self._consumer and self._consumer.poll() is None:
            self._consumer.terminate()
        if self._consumer:
            said = self._consumer.communicate(timeout=60)[1]
            assert "Traceback" not in said, said
        if self._client is not None:
            self._client.close()

    def publish(self, *readings):
        """(system, seconds ago, readings) of each, by a client of its own; until the broker has them."""
        now = utcnow()
        messages = [
            Message.new(
                encode(
                    Metrics(
                        system_id=system,
                        collected_at=now - timedelta(seconds=ago),
                        metrics=Readings(**values),
                    )
                ),
                "metrics.collected",
            )
            for system, ago, values in readings
        ]
        deadline = time.monotonic() + 60
        with self._sending:
            while True:
                try:
                    if self._client is None:
                        self._client = open_broker(self._config.queue, store_url=self.store.url())
                        self._client.declare("metrics_queue")
                    self._client.publish("metrics_queue", messages)
                    return
                except BrokerError:
                    assert time.monotonic() < deadline
                    self._client = None
                    time.sleep(0.3)

    def ask(self, query, *parameters):
        with psycopg.connect(self.store.url()) as connection:
            return connection.execute(query, parameters).fetchall()

    def wait(self, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, {
                story.name: story.receiver.alerts for story in self.stories.values()
            }
            time.sleep(0.05)


@contextmanager
def working(kind, rules):
    """The site, with the stories that have these rules."""
    with ExitStack() as stack:
        yield Site(kind, rules, stack)
