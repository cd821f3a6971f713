import threading

import pytest

from labmon.app.collect.service import (
    Notice,
    Reloaded,
    Reloading,
    RoundFinished,
    ServiceStarted,
    Stopping,
    collect_service,
)
from labmon.app.fleet import Selection
from labmon.collect.result import Result
from labmon.config.load import load
from labmon.errors import ConfigError


@pytest.fixture
def config(tmp_path):
    """No database, no broker, and nothing listens at the port of the machines."""
    (tmp_path / "password").write_text("x\n")
    environ = {
        "LABMON_STATE_DIR": str(tmp_path),
        "LABMON_DATABASE_URL": "postgresql://127.0.0.1:1/labmon?connect_timeout=1",
        "LABMON_COLLECT_PASSWORD_FILE": str(tmp_path / "password"),
        "LABMON_COLLECT_PORT": "1",
    }
    return load(environ=environ).config


def events(configure, stop, reload=None):
    return collect_service(
        configure,
        Selection(hosts=("127.0.0.1",)),
        every=5.0,
        retry=False,
        stop=stop,
        reload=reload or threading.Event(),
    )


def kinds(happened):
    return [type(one) for one in happened]


def until(service, kind):
    happened = []
    for event in service:
        happened.append(event)
        if isinstance(event, kind):
            return happened
    raise AssertionError(happened)


def test_a_service_starts_measures_finishes_a_round_and_stops(config):
    stop = threading.Event()
    service = events(lambda: config, stop)
    happened = until(service, RoundFinished)
    assert kinds(happened)[:2] == [Notice, ServiceStarted]
    (result,) = [one for one in happened if isinstance(one, Result)]
    assert (result.target.address, result.failure.reason) == ("127.0.0.1", "refused")
    assert (happened[-1].round.failures.total(), happened[-1].spooled) == (1, 0)
    stop.set()
    assert Stopping in kinds(service)


def test_a_configuration_that_is_wrong_is_a_notice_and_the_old_one_stays(config):
    stop, reload, read = threading.Event(), threading.Event(), []

    def configure():
        read.append(1)
        if len(read) > 1:
            raise ConfigError("[collect] port: no number")
        return config

    service = events(configure, stop, reload)
    until(service, RoundFinished)
    reload.set()
    happened = until(service, Reloaded)
    assert Reloading in kinds(happened)
    assert "[collect] port: no number. Going on as before" in [
        one.text for one in happened if isinstance(one, Notice)
    ]
    stop.set()
    list(service)


def test_the_first_start_raises_what_is_wrong(config):
    def configure():
        raise ConfigError("no")

    with pytest.raises(ConfigError):
        next(iter(events(configure, threading.Event())))
