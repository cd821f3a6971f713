"""The heartbeat outwards, at a real HTTP server."""

import pytest

from labmon.app.heartbeat import HeartbeatUrl
from labmon.config.load import load
from tests.support.clock import clock
from tests.support.receiver import Receiver
from tests.support.servers import free_port


def heartbeat(url, command="collect", **more):
    flags = {"heartbeat.url": url} | {f"heartbeat.{name}": value for name, value in more.items()}
    return HeartbeatUrl(load(environ={}, flags=flags).config.heartbeat, command)


@pytest.fixture
def receiver():
    with Receiver(then=200) as receiver:
        yield receiver


def test_the_address_is_requested_with_the_name_of_the_command(receiver):
    heartbeat(receiver.url + "/{command}").request()
    heartbeat(receiver.url + "/{command}", "consume").request_soon()
    assert [one.path for one in receiver.wait(2)] == ["/hook/token-abc/collect", "/hook/token-abc/consume"]
    assert receiver.received[0].headers["User-Agent"].startswith("labmon/")


def test_without_an_address_nothing_is_requested():
    heartbeat("").request()
    heartbeat("").request_soon()


def test_failures_are_logged_once_without_the_secret_and_so_is_the_end(caplog):
    with Receiver(answers=[500, 404, 200, 200]) as receiver:
        one = heartbeat(receiver.url)
        for _ in range(4):
            one.request()
    assert [record.message for record in caplog.records] == [
        "[heartbeat] url: it answered 500",
        "[heartbeat] url: it answers again",
    ]


def test_nobody_there_is_logged_once(caplog):
    one = heartbeat(f"http://127.0.0.1:{free_port()}/ping/s3cret")
    one.request()
    one.request()
    (record,) = caplog.records
    assert "Connection refused" in record.message
    assert "s3cret" not in caplog.text


def test_a_server_that_answers_slowly_delays_nothing_for_long():
    with Receiver(drip=True) as receiver:
        one = heartbeat(receiver.url, timeout="1s")
        began = clock()
        one.request()
        one.request()  # while the first is under way
        one.request_soon()
        assert clock() - began < 4
        assert len(receiver.received) == 1


@pytest.mark.parametrize("url", ["ftp://x/y", "https://", "no address"])
def test_what_is_no_web_address_is_a_fault_of_the_configuration(url):
    from labmon.errors import ConfigError

    with pytest.raises(ConfigError, match="heartbeat"):
        heartbeat(url)


def test_its_path_is_a_secret_of_the_configuration():
    loaded = load(environ={}, flags={"heartbeat.url": "https://hc.example.edu/ping/0f1e2d"})
    (shown,) = [value for name, value, _ in loaded.rows() if name == "heartbeat.url"]
    assert shown == '"https://hc.example.edu/***"'
