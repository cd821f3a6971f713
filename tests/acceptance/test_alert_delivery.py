"""From readings in the queue to what a webhook receives, and when, on each broker: exactly these, no others.

Times are short and real: `labmon consume` runs beside the test, and ticks every five seconds.
"""

import os
import signal
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest

from labmon.brokers import open_broker
from labmon.brokers.base import Message
from labmon.errors import BrokerError
from labmon.messages import Metrics, Readings, encode, utcnow
from labmon.settings import load
from tests.receiver import Receiver
from tests.servers import PostgresServer

RULES = """
[[rule]]
name = "hot"
metric = "cpu_percent"
threshold = 90
clear = 80
for = "2m"
severity = "warning"
repeat = "0s"

[[rule]]
name = "full"
metric = "disk_percent"
threshold = 90
severity = "critical"
repeat = "6s"

[[rule]]
name = "no_data"
kind = "no_data"
threshold = 4
repeat = "0s"

[[rule]]
name = "lab_down"
kind = "lab_down"
comparison = ">="
threshold = 50
clear = 10
severity = "critical"
span = "1m"
repeat = "0s"
"""


class Site:
    """Six machines, of which the last four are a lab, and somebody who is told."""

    def __init__(self, lab, server, receiver):
        self.lab = lab
        self.server = server
        self.receiver = receiver
        self.config = load(environ=lab.env).config
        self.url = lab.environ["LABMON_DATABASE_URL"]
        self.consumer = None
        self._seen = 0

    def publish(self, *readings):
        """(system, seconds ago, readings) of each, by a client of its own; until the broker has them."""
        messages = [
            Message.new(
                encode(
                    Metrics(
                        system_id=system,
                        collected_at=utcnow() - timedelta(seconds=ago),
                        metrics=Readings(**values),
                    )
                ),
                "metrics.collected",
            )
            for system, ago, values in readings
        ]
        deadline = time.monotonic() + 60
        while True:
            try:
                with open_broker(self.config, store_url=self.url) as broker:
                    broker.declare("metrics_queue")
                    broker.publish("metrics_queue", messages)
                return
            except BrokerError:
                assert time.monotonic() < deadline
                time.sleep(0.3)

    def start(self):
        self.consumer = self.lab.start("consume")

    def kill(self):
        os.kill(self.consumer.pid, signal.SIGKILL)
        self.consumer.communicate()

    def stop(self):
        if self.consumer and self.consumer.poll() is None:
            self.consumer.terminate()
        if self.consumer:
            said = self.consumer.communicate(timeout=60)[1]
            assert "Traceback" not in said, said

    def news(self, count, seconds=30):
        """What was told since it was last asked, once that many alerts have come."""
        deadline = time.monotonic() + seconds
        while len(self.receiver.alerts) < self._seen + count:
            assert time.monotonic() < deadline, self.receiver.alerts[self._seen :]
            time.sleep(0.02)
        found = self.receiver.alerts[self._seen :]
        self._seen += len(found)
        return found

    def silence(self, seconds):
        """Nobody is told anything for so long."""
        time.sleep(seconds)
        assert self.receiver.alerts[self._seen :] == []

    @contextmanager
    def measured(self, *systems):
        """They are measured every second, meanwhile."""
        over = threading.Event()

        def measure():
            while not over.wait(1.0):
                self.publish(*((one, 0, {"load1": 1.0}) for one in systems))

        thread = threading.Thread(target=measure)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def working(lab, server):
    """The rules, six machines of department 1, a target, and `labmon consume`."""
    (lab.folder / "rules.toml").write_text(RULES)
    lab.run("alerts", "rules", "import", lab.folder / "rules.toml", "--replace")
    with psycopg.connect(lab.environ["LABMON_DATABASE_URL"]) as connection:
        connection.execute("INSERT INTO departments (dept_id) VALUES (1) ON CONFLICT DO NOTHING")
        connection.execute("INSERT INTO labs (lab_id, dept_id, name) VALUES (3, 1, 'A-101')")
        connection.execute(
            "INSERT INTO systems (system_id, dept_id, lab_id, ip_address, hostname) "
            "SELECT n, 1, CASE WHEN n > 2 THEN 3 END, '10.0.0.0'::inet + n, 'pc-' || n "
            "FROM generate_series(1, 6) AS n"
        )
    lab.run("setup-queues")
    with Receiver() as receiver:
        lab.environ |= {
            "LABMON_NOTIFY_TARGETS": f'[{{name = "hook", url = "{receiver.url}", secret = "s3cret"}}]',
            "LABMON_NOTIFY_GROUP_INTERVAL": "0s",
            "LABMON_QUEUE_LEASE": "5s",
        }
        site = Site(lab, server, receiver)
        site.start()
        try:
            yield site
        finally:
            site.stop()


@pytest.fixture
def site(broker, lab, request):
    if broker.__class__ is not PostgresServer and os.environ.get("CHAOS") != "long":
        if not request.node.get_closest_marker("chaos"):
            pytest.skip("what is told and when is the same on each broker: all of them with CHAOS=long")
    with working(lab, broker) as site:
        yield site


def hot(system, *values):
    """One reading a minute, the last one now."""
    last = 60 * (len(values) - 1)
    return [(system, last - 60 * n, {"cpu_percent": float(value)}) for n, value in enumerate(values)]


def test_thresholds_repeats_and_acknowledgements(site):
    # Over for a minute only; then over for two, wavering above the clear threshold, and over again.
    site.publish(*hot(1, 95, 95, 50))
    site.publish(*hot(2, 95, 95, 95, 85, 91, 85))
    assert site.news(1) == [(2, "hot", "firing")]
    site.silence(3)
    for ago, value in ((0.2, 70.0), (0.1, 70.0)):
        site.publish((2, ago, {"cpu_percent": value}))
    site.silence(3)  # it has to last two minutes

    began = time.monotonic()
    site.publish((1, 0, {"disk_percent": 95.0}))
    assert site.news(1) == [(1, "full", "firing")]
    assert time.monotonic() - began < 5
    first = site.receiver.received[-1].at
    assert site.news(2, 45) == [(1, "full", "firing")] * 2
    second, third = (one.at for one in site.receiver.received[-2:])
    assert 5 <= second - first < third - second  # after 6 s, then after 12, by ticks of 5
    assert [one.document["alerts"][0].get("repeat", 0) for one in site.receiver.received[-3:]] == [0, 1, 2]
    number = site.receiver.received[-1].document["alerts"][0]["alert_id"]
    site.lab.run("alerts", "ack", number, "-m", "I know")
    site.silence(8)
    site.publish((1, 0, {"disk_percent": 10.0}))
    assert site.news(1) == [(1, "full", "resolved")]
    site.silence(2)
    assert {one.headers["Labmon-Signature"][:2] for one in site.receiver.received} == {"t="}


def test_silence_and_a_lab_without_power_and_maintenance(site):
    with site.measured(1):
        with site.measured(2, 3, 4, 5, 6):
            site.silence(8)
        # The first of those that go is alone in it.
        with site.measured(3, 4, 5, 6):
            assert site.news(1, 40) == [(2, "no_data", "firing")]
        # The lab is cut off: one alert for the four of them, and none for each.
        assert site.news(1, 60) == [(0, "lab_down:lab 3", "firing")]
        (alert,) = site.receiver.received[-1].document["alerts"]
        assert (alert["covers"], alert["about"]) == (["pc-3", "pc-4", "pc-5", "pc-6"], "A-101")
        site.silence(8)
        with site.measured(3, 4, 5, 6):
            assert site.news(1, 60) == [(0, "lab_down:lab 3", "resolved")]

            # What fires in a maintenance and still stands is told at its end.
            site.lab.run("alerts", "rules", "set", "full", "--repeat", "0s")
            site.lab.run("maintenance", "add", "--system", "1", "--mode", "mute", "--for", "1h")
            site.publish((1, 0, {"disk_percent": 95.0}), (3, 0, {"disk_percent": 95.0}))
            assert site.news(1) == [(3, "full", "firing")]
            site.silence(6)
            site.lab.run("maintenance", "remove", "1")
            assert site.news(1) == [(1, "full", "firing")]


@pytest.mark.chaos
def test_who_dies_in_the_middle_forgets_nobody(site):
    def fire(system):
        site.publish((system, 0, {"disk_percent": 95.0}))

    site.lab.run("alerts", "rules", "set", "full", "--repeat", "0s")
    fire(1)
    assert site.news(1) == [(1, "full", "firing")]
    # The worker is killed with messages on their way.
    fire(2)
    site.kill()
    fire(3)
    site.start()
    assert set(site.news(2, 90)) == {(2, "full", "firing"), (3, "full", "firing")}
    # The broker is away.
    site.server.stop()
    time.sleep(1)
    site.server.start()
    fire(4)
    assert (4, "full", "firing") in site.news(1, 120)
    # The receiver is away.
    came = len(site.receiver.received)
    site.receiver.then = 503
    fire(5)
    site.receiver.wait(came + 1, 60)
    site.receiver.then = 204
    deadline = time.monotonic() + 60
    while told(site) != {"sent"}:
        assert time.monotonic() < deadline
        time.sleep(0.3)
    last = site.receiver.received[-1]
    assert last.alerts == [(5, "full", "firing")]
    assert last.headers["Idempotency-Key"] == site.receiver.received[came].headers["Idempotency-Key"]


def test_a_database_that_goes_away_costs_nobody_an_alert(lab, own_postgres_server, redis_server):
    """The queue is elsewhere, and takes what comes meanwhile."""
    redis_server.cli("FLUSHALL")
    lab.environ |= {
        "LABMON_DATABASE_URL": own_postgres_server.url(),
        "QUEUE_TYPE": "redis",
        "QUEUE_HOST": "127.0.0.1",
        "QUEUE_PORT": str(redis_server.port),
        "QUEUE_PASSWORD": redis_server.PASSWORD,
    }
    lab.run("db", "migrate")
    with working(lab, own_postgres_server) as site:
        site.publish((1, 0, {"disk_percent": 95.0}))
        assert site.news(1) == [(1, "full", "firing")]
        own_postgres_server.stop()
        site.publish((2, 0, {"disk_percent": 95.0}))
        time.sleep(2)
        own_postgres_server.start()
        assert (2, "full", "firing") in site.news(1, 90)


def told(site):
    with psycopg.connect(site.url) as connection:
        return {row[0] for row in connection.execute("SELECT DISTINCT state FROM deliveries")}
