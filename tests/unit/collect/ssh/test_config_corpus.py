"""Files of tests/data/ssh_config, each asked for several hosts: `ssh -G` is the judge of every answer."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from labmon.collect.ssh.config import SshConfig
from labmon.collect.ssh.jump import parse_hops

DATA = Path(__file__).parents[3] / "data" / "ssh_config"
FILES = sorted(path for path in DATA.iterdir() if path.is_file())

ON_PURPOSE = [
    # (text, our answer, reason): what ssh says of host `lab1` is different, or it refuses the file
    ("Match exec true\n User x\n", {"user": None}, "nothing is ever run"),
    ("Match !exec false\n User x\n", {"user": None}, "nothing is ever run, and nothing is known of it"),
    ("NewerKeyword yes\nUser x\n", {"user": "x"}, "labmon need not know the keywords of every OpenSSH"),
    ("Match nonsense y\n User x\n", {"user": None}, "nor their criteria: what is unknown matches nothing"),
    ("ProxyJump none # by cable\n", {"proxy_jump": "none"}, "later versions of ssh read it like this, too"),
]
"""And names are not canonicalized by DNS: collecting starts from addresses."""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The home folder with what the files include; for its owner only, or ssh would refuse it."""
    home = tmp_path / "home"
    shutil.copytree(DATA / "home", home)
    for path in home.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LAB_KEY", "room 101")
    return home


def openssh(path, host):
    """What ssh would do: keyword -> values."""
    done = subprocess.run(["ssh", "-G", "-F", path, host], capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.decode().split("\n"):
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword, []).append(value)
    return found


def defaults(tmp_path):
    empty = tmp_path / "empty"
    empty.touch(mode=0o600)
    return openssh(empty, "x")["identityfile"]


def key_files(theirs, host, usual):
    """The files that ssh would try, with tokens filled in; it prints them as they are written."""
    tokens = {"%": "%", "n": host, "h": theirs["hostname"][0], "r": theirs["user"][0], "p": theirs["port"][0]}
    tokens |= {"d": os.environ["HOME"], "u": Path.home().owner(), "i": str(os.getuid())}
    named = [one for one in theirs["identityfile"] if one.lower() != "none"]
    if theirs["identityfile"] == usual:
        return []
    filled = [re.sub(r"\$\{(\w+)\}", lambda match: os.environ[match[1]], one) for one in named]
    return [os.path.expanduser(re.sub("%(.)", lambda match: tokens[match[1]], one)) for one in filled]


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_each_answer_is_that_of_openssh(file, home, tmp_path):  # findings C9, E3
    path = tmp_path / "config"
    path.touch(mode=0o600)
    path.write_bytes(file.read_bytes())
    usual = defaults(tmp_path)
    hosts = file.read_text().split("\n")[0].removeprefix("# hosts: ").split()
    assert hosts and len(FILES) >= 60
    config = SshConfig.load(path)
    for host in hosts:
        theirs, ours = openssh(path, host), config.options(host)
        assert {
            "user": ours.user or Path.home().owner(),
            "port": str(ours.port or 22),
            "hostname": ours.hostname or host.lower(),
            "identityfile": list(ours.identity_files),
            "identitiesonly": "yes" if ours.identities_only else "no",
            "proxyjump": parse_hops(ours.proxy_jump or "none", ""),
            "proxycommand": ours.proxy_command,
            "hostkeyalias": ours.host_key_alias,
        } == {
            "user": theirs["user"][0],
            "port": theirs["port"][0],
            "hostname": theirs["hostname"][0],
            "identityfile": key_files(theirs, host, usual),
            "identitiesonly": theirs["identitiesonly"][0],
            "proxyjump": parse_hops(theirs.get("proxyjump", ["none"])[0], ""),
            "proxycommand": theirs.get("proxycommand", [None])[0],
            "hostkeyalias": theirs.get("hostkeyalias", [None])[0],
        }, (file.name, host)


@pytest.mark.parametrize("text, expected, reason", ON_PURPOSE)
def test_what_differs_differs_on_purpose(home, tmp_path, text, expected, reason):
    path = tmp_path / "config"
    path.touch(mode=0o600)
    path.write_text(text)
    options = SshConfig.load(path).options("lab1")
    assert {name: getattr(options, name) for name in expected} == expected, reason
