"""The TLS settings of [queue]. findings B3: security settings silently without effect."""

import pytest

from labmon.brokers import open_broker, tls
from labmon.brokers.postgres import conninfo
from labmon.config.load import load
from labmon.errors import ConfigError

ON, CA, UNVERIFIED = (
    {"LABMON_QUEUE_TLS": "true"},
    {"LABMON_QUEUE_TLS_CA": "/etc/ca.pem"},
    {"LABMON_QUEUE_TLS_VERIFY": "false"},
)


def queue(type, *settings, **environ):
    for one in settings:
        environ |= one
    return load(
        environ={"QUEUE_TYPE": type, "LABMON_DATABASE_URL": "postgresql://db/x", **environ}
    ).config.queue


@pytest.mark.parametrize("type", ["postgres", "redis", "rabbitmq"])
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ([CA], "tls_ca: has no effect without tls = true"),
        ([UNVERIFIED], "tls_verify: has no effect without tls = true"),
        ([CA, UNVERIFIED], "tls_ca and tls_verify: has no effect without tls = true"),
        ([ON, CA, UNVERIFIED], "tls_ca: has no effect with tls_verify = false"),
    ],
)
def test_a_setting_that_has_no_effect_is_refused(type, settings, says):
    with pytest.raises(ConfigError, match=says):
        open_broker(queue(type, *settings, QUEUE_HOST="mq.example.edu"), store_url="")


@pytest.mark.parametrize("settings", [[ON], [ON, CA], [UNVERIFIED]])
def test_the_queue_in_the_database_has_its_tls(settings):
    with pytest.raises(ConfigError, match=r"tls.*sslmode=verify-full to \[database\] url"):
        open_broker(queue("postgres", *settings), store_url="postgresql://db/x")


@pytest.mark.parametrize("type", ["postgres", "redis"])
@pytest.mark.parametrize("settings", [[ON], [ON, CA], [ON, UNVERIFIED]])
def test_there_is_no_tls_over_a_socket(type, settings):
    with pytest.raises(ConfigError, match="no TLS over the socket /run/socket"):
        open_broker(queue(type, *settings, QUEUE_HOST="/run/socket"), store_url="")


@pytest.mark.parametrize("type", ["postgres", "redis", "rabbitmq"])
@pytest.mark.parametrize("settings", [[], [ON], [ON, UNVERIFIED]])
def test_what_can_be_honoured_is_taken(type, settings):
    open_broker(queue(type, *settings, QUEUE_HOST="mq.example.edu"), store_url="").close()


def test_the_management_api_has_a_certificate_too():
    url = {"LABMON_QUEUE_MANAGEMENT_URL": "https://mq.example.edu:15671"}
    tls.check(queue("rabbitmq", CA, url, QUEUE_HOST="mq.example.edu"))


def test_libpq_has_other_names_for_it():
    host = {"QUEUE_HOST": "mq.example.edu"}
    assert conninfo.tls(queue("postgres", host)) == {}
    assert conninfo.tls(queue("postgres", ON, CA, host)) == {
        "sslmode": "verify-full",
        "sslrootcert": "/etc/ca.pem",
    }
    assert conninfo.tls(queue("postgres", ON, UNVERIFIED, host)) == {"sslmode": "require"}
    assert conninfo.tls(queue("postgres", ON, host))["sslmode"] == "verify-full"
    assert conninfo.tls(queue("postgres", ON, host))["sslrootcert"]
