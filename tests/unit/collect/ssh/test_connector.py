"""The plan of a connection, as far as it needs no machine."""

import subprocess

import pytest

from labmon.collect.result import Target
from labmon.collect.ssh.connector import Connector
from labmon.collect.ssh.jump import parse_hops
from labmon.config.tables import CollectConfig
from labmon.errors import ConfigError


@pytest.fixture
def connector(tmp_path, monkeypatch):
    """connector(lines of the ssh_config, **settings) -> Connector"""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    opened = []

    def make(text="", **settings):
        file = tmp_path / "ssh_config"
        file.write_text(text)
        file.chmod(0o600)
        settings = {"key_files": [str(key)], "ssh_config": str(file), **settings}
        opened.append(Connector.load(CollectConfig(**settings), tmp_path / "state"))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


PC = Target("10.0.0.1", 22, 1)


def test_what_may_make_a_login_work_changes_the_fingerprint(connector):  # findings A16
    base = connector(user="a").fingerprint(PC)
    assert base == connector(user="a").fingerprint(PC) == connector("Port 22\n", user="a").fingerprint(PC)
    others = [
        connector(user="b"),
        connector("Port 2222\n", user="a"),
        connector("ProxyJump gate\n", user="a"),
        connector(user="a", proxy_jump="other"),
        connector(user="a", password="x"),
    ]
    assert len({base, *(one.fingerprint(PC) for one in others)}) == 6
    assert connector(user="a").fingerprint(Target("10.0.0.1", 2200, 1)) != base


def test_a_machine_s_own_account_and_key_beat_all_others(connector, tmp_path):
    own = tmp_path / "own"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", own], check=True)
    mine = connector("User fromconfig\n", user="a")
    target = Target("10.0.0.1", 22, 1, user="keeper", key_file=str(own))
    login = mine.plan(target).login
    assert (login.user, [name for name, _ in login.keys]) == ("keeper", [str(own)])
    assert mine.plan(PC).login.user == "a"
    assert mine.fingerprint(target) != mine.fingerprint(PC)
    missing = mine.plan(Target("10.0.0.1", 22, 1, key_file=str(tmp_path / "gone"))).login
    assert missing.keys == () and "gone" in missing.unusable[0]


def test_a_machine_that_cannot_be_planned_has_no_fingerprint(connector):  # findings A16
    assert connector("ProxyCommand nc\n").fingerprint(PC) == ""
    assert connector("IdentityFile %q\n", key_files=[], password="x").fingerprint(PC) == ""


def test_the_account_of_before_is_in_the_plan_where_nothing_names_one(connector):  # findings A16
    mine = connector()
    before = mine.fingerprint(PC)
    mine._host_keys.remember_account(mine.plan(PC).machine, "monitor")
    assert mine.plan(PC).login.user == "monitor"
    assert mine.fingerprint(PC) != before
    assert connector("Host 10.*\n User bob\n").plan(PC).login.user == "bob"
    assert connector(user="eve").plan(PC).login.user == "eve"


@pytest.mark.parametrize("allow", ["10.0.0.0/33", "lab", "", "10.0.0.0-10.0.0.9"])
def test_what_is_no_network_is_named_before_anything_is_contacted(connector, allow):  # findings B2
    with pytest.raises(ConfigError, match=r"\[collect\] allow: .* is no network. Write it like"):
        connector(allow=["10.0.0.0/8", allow])


@pytest.mark.parametrize(
    "text, hops",
    [
        ("gate", ["gate"]),
        ("a@gate:2200,second", ["a@gate:2200", "second"]),
        ("ssh://a%40b@gate:ssh/", ["a@b@gate:22"]),
        ("[2001:DB8::1]:22", ["[2001:db8::1]:22"]),
    ],
)
def test_bastions_may_be_written_as_for_ssh(text, hops):  # findings E3
    assert list(map(str, parse_hops(text, "x"))) == hops


@pytest.mark.parametrize(
    "text", ["a/b", "a,,b", "::1", "@a", "a:0", "a:22:33", "a:99999", "a b", "[::1", "a:x y"]
)
def test_what_is_no_bastion_is_said(text):  # findings E3
    with pytest.raises(ConfigError, match=r"x: .* is not \[user@\]host\[:port\]"):
        parse_hops(text, "x")
