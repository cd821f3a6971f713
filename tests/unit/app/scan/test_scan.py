"""A whole scan of loopback by TCP, with a port that listens."""

import socket

import pytest

from labmon.app.open import open_spool
from labmon.app.scan.scan import ScanRequest, open_scan
from labmon.config.load import load
from labmon.errors import AlreadyRunning, StoreUnavailable
from labmon.messages import Discovery, ScanFinished, decode_discovery


@pytest.fixture
def config(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield load(
            environ={
                "LABMON_STATE_DIR": str(tmp_path),
                "LABMON_SCAN_TCP_PORTS": str(server.getsockname()[1]),
                "LABMON_SCAN_NAMES": "false",
                "LABMON_QUEUE_ENABLED": "true",
                "QUEUE_TYPE": "redis",
                "QUEUE_HOST": "127.0.0.1",
                "QUEUE_PORT": "1",
                "LABMON_DATABASE_URL": "postgresql://127.0.0.1:1/labmon?connect_timeout=1",
            }
        ).config


def request(**more):
    return ScanRequest(1, ("127.0.0.1",), method="tcp", **more)


def test_hosts_and_the_end_of_the_scan_go_to_the_sink(config):
    lines = []
    with open_scan(config, request(), notice=lines.append) as scan:
        result = scan.run()
    assert [host.address for host in result.hosts] == ["127.0.0.1"]
    found = [decode_discovery(one.body) for one in open_spool(config).browse(10)]  # the broker is away
    assert [type(one) for one in found] == [Discovery, ScanFinished]
    assert (found[1].systems_found, found[1].status, found[1].scan_id) == (1, "completed", found[0].scan_id)


def test_a_dry_run_stores_nothing(config):
    with open_scan(config, request(dry_run=True), notice=print) as scan:
        result = scan.run()
    assert len(result.hosts) == 1
    assert open_spool(config).count() == 0


def test_addresses_that_another_scan_holds_are_not_asked(config, tmp_path):
    with open_scan(config, request(), notice=print), pytest.raises(AlreadyRunning, match="is running"):
        with open_scan(config, request(), notice=print):
            pass


def test_without_addresses_the_departments_subnets_need_the_database(config):
    with pytest.raises(StoreUnavailable), open_scan(config, ScanRequest(1), notice=print):
        pass
