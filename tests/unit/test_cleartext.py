import pytest

from labmon import cleartext


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("", True),
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("[::1]", True),
        ("/run/redis.sock", True),
        ("@abstract", True),
        ("mq.example.edu", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),
        ("fe80::1%eth0", False),
        ("localhost.example.edu", False),
        ("::ffff:192.0.2.1", False),
    ],
)
def test_this_machine_is_known(host, local):
    assert cleartext.is_local(host) is local


def test_each_server_is_warned_of_once(caplog, monkeypatch):
    monkeypatch.setattr(cleartext, "_warned", set())
    for _ in range(3):
        cleartext.warn("Redis at a:1", "a", "Encrypt")
        cleartext.warn("Redis at b:1", "b", "Encrypt")
        cleartext.warn("Redis at 127.0.0.1:1", "127.0.0.1", "Encrypt")
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["Redis at a", "Redis at b"]
