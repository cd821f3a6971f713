import subprocess
import sys

import pytest

from labmon.brokers import open_broker
from labmon.brokers.base import Message
from labmon.config.load import load
from labmon.errors import ConfigError


def config(**environ):
    return load(environ=environ).config


def test_without_a_host_the_queue_is_in_the_store(postgres_url):
    with open_broker(config().queue, store_url=postgres_url) as broker:
        assert broker.declare("work")
        broker.publish("work", [Message.new(b"")])
        assert broker.depth("work").ready == 1


def test_a_host_is_used_with_its_own_account(postgres_server):
    with postgres_server.database() as name:
        given = config(
            QUEUE_TYPE="postgres",
            QUEUE_HOST="127.0.0.1",
            QUEUE_PORT=str(postgres_server.port),
            QUEUE_USER=postgres_server.USER,
            QUEUE_PASSWORD=postgres_server.PASSWORD,
            LABMON_QUEUE_DATABASE=name,
        )
        with open_broker(given.queue, store_url="postgresql://nobody@192.0.2.1/nothing") as broker:
            assert broker.declare("work")


def test_opening_does_not_connect():
    with open_broker(config(QUEUE_HOST="127.0.0.1", QUEUE_PORT="1").queue, store_url=""):
        pass


def test_an_address_that_is_none_is_refused():
    with pytest.raises(ConfigError, match=r"\[database\] url"):
        open_broker(config().queue, store_url="nonsense")


def test_importing_the_package_loads_no_driver():
    check = "import sys, labmon.brokers; sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0
