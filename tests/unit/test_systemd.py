import socket

import pytest

from labmon.systemd import notify


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path, monkeypatch):
    """The other end."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@labmon-{tmp_path.name}-{id(request)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind("\0" + name[1:] if name[0] == "@" else name)
        end.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield end


def test_systemd_is_told(systemd):
    notify("READY=1")
    assert systemd.recv(100) == b"READY=1"


def test_without_systemd_nothing_happens(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


def test_a_systemd_that_has_gone_is_no_reason_to_fail(monkeypatch, tmp_path):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    notify("READY=1")
