"""Our reading of ssh_config(5), beside that of `ssh -G`, which says what is right."""

import os
import subprocess
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labmon.collect.ssh.config import HostOptions, SshConfig
from labmon.errors import ConfigError


@pytest.fixture
def write(tmp_path):
    """write(text, name=) -> the file, for its owner's eyes only."""

    def make(text, name="config"):
        path = tmp_path / name
        path.touch(mode=0o600)
        path.write_text(text)
        return path

    return make


def openssh(path, host, user=None):
    """What ssh would do: keyword -> values."""
    who = ["-l", user] if user else []
    done = subprocess.run(
        ["ssh", "-G", "-F", path, *who, host],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    found = {}
    for line in done.stdout.splitlines():
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword, []).append(value)
    return found


FILE = """
# Everybody
IdentitiesOnly=yes
Include more*.conf
Host lab-* !lab-9
  Port 2222
  User "first one"   # a comment
  ProxyJump gw,second:2200
Host lab-1
	port 3333
    HostName = %h.example.edu
Match host *.example.edu originalhost lab-1
  IdentityFile ~/keys/%n-%r-%p
Match !host lab-* user root,alice
  User never
Host 10.0.?.*
  ProxyCommand none
  ProxyJump too-late
Match final all
  Port 4444
Match exec true
  Port 5555
Host *
  User last
  IdentityFile /etc/key
  ProxyJump none
"""


@pytest.mark.parametrize("host", ["lab-1", "lab-2", "lab-9", "10.0.3.200", "10.0.33.200", "inner", "x"])
def test_it_is_read_as_openssh_reads_it(write, host):
    write("Host inner\n User included\nHost *\n", "more1.conf")
    # Without the two blocks that are evaluated by running something, or twice.
    text = FILE.replace("Match final all\n  Port 4444\nMatch exec true\n  Port 5555\n", "")
    path = write(text)
    path.write_text(text.replace("more*", f"{path.parent}/more*"))
    theirs = openssh(path, host)
    ours = SshConfig.load(path).options(host)
    assert [ours.user] == theirs["user"]
    assert [str(ours.port or 22)] == theirs["port"]
    assert [ours.hostname or host] == theirs["hostname"]
    jump = theirs.get("proxyjump", ["none"])
    assert [ours.proxy_jump or "none"] == jump
    filled = [
        os.path.expanduser(file).replace("%n", host).replace("%r", ours.user).replace("%p", theirs["port"][0])
        for file in theirs["identityfile"]
    ]
    assert list(ours.identity_files) == filled
    assert ours.identities_only


def test_nothing_is_run_and_no_block_that_asks_for_it_matches(write, tmp_path):
    path = write(
        f'Match exec "touch {tmp_path}/ran"\n User exec\nMatch final\n User final\n'
        f"Match nonsense x\n User nonsense\nMatch host x exec true\n User both\nHost *\n User right\n"
    )
    assert SshConfig.load(path).options("x").user == "right"
    assert not (tmp_path / "ran").exists()


def test_a_machine_is_meant_by_its_address_or_its_name(write):
    config = SshConfig.load(write("Host 10.0.*\n User a\nHost pc1\n Port 2\nHost * !pc1\n User no\n"))
    assert config.options("10.0.0.1", "pc1") == HostOptions(user="a", port=2)
    assert config.options("10.1.0.1", "pc1") == HostOptions(port=2)
    assert config.options("10.1.0.1", None).user == "no"


def test_names_are_compared_without_regard_to_case_since_scans_write_them_either_way(write):
    assert SshConfig.load(write("Host lab-*\n Port 2\n")).options("10.0.0.1", "LAB-2").port == 2


def test_a_user_that_is_decided_elsewhere_counts_for_match(write):
    config = SshConfig.load(write("Match user bob\n Port 2\n"))
    assert config.options("x", user="bob").port == 2
    assert config.options("x", user="eve").port is None


def test_the_first_of_the_two_proxies_wins(write):
    config = SshConfig.load(write("Host a\n ProxyJump gw\nHost *\n ProxyCommand nc %h %p\n"))
    assert (config.options("a").proxy_jump, config.options("a").proxy_command) == ("gw", None)
    assert config.options("b").proxy_command == "nc %h %p"


@pytest.mark.parametrize(
    "text, words",
    [
        ("Port 99999", "line 1: there is no port 99999"),
        ("\nPort x", "line 2: there is no port x"),
        ("User", "line 1: user has no value"),
        ('User ""', "line 1: user has no value"),
        ('Host "a', "line 1: a quote that does not end"),
        ("Match", "line 1: match has no value"),
        ("Include ~/config", "included in itself"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(write, monkeypatch, text, words):
    path = write(text)
    monkeypatch.setenv("HOME", str(path.parent))
    with pytest.raises(ConfigError, match=words) as caught:
        SshConfig.load(path)
    assert str(caught.value).startswith(str(path))


def test_a_file_that_others_may_write_to_is_refused(write):
    path = write("Host *\n ProxyJump evil\n")
    path.chmod(0o666)
    with pytest.raises(ConfigError, match=r"others may write to it.*chmod 600"):
        SshConfig.load(path)


@pytest.mark.parametrize(
    "text, words",
    [
        ("User " + "x" * 20_000, "line 1: longer than 16384 characters"),
        ("# " + " " * 5_000_000, "longer than 16384|more than 4 MiB"),
        ("Host lab\n" * 500_000, "more than 4 MiB"),
    ],
)
def test_a_file_has_a_bounded_size(write, text, words):  # findings B6
    path = write(text)
    with pytest.raises(ConfigError, match=words):
        SshConfig.load(path)


def test_files_that_include_each_other_twice_are_bounded(write, tmp_path, monkeypatch):  # findings B6
    """Sixteen files deep and two of each are 65,536."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for number in range(16):
        write(f"Include ~/f{number + 1} ~/f{number + 1}\n", f"f{number}")
    write("", "f16")
    with pytest.raises(ConfigError, match="more than 1000 included files"):
        SshConfig.load(tmp_path / "f0")


@pytest.mark.parametrize(
    "line, name",
    [
        ("Host " + "*a" * 7000, "a" * 250 + "b"),
        ("Match host " + "*a?" * 5000, "a" * 250 + "b"),
        ("User x" + " " * 16_000 + "y", "a"),
        ('Host "' + "\\ " * 8000 + '"', "a"),
    ],
)
def test_no_line_costs_more_than_its_length(write, line, name):  # findings B6
    path = write(f"{line}\n Port 5\n")
    began = time.process_time()
    try:
        SshConfig.load(path).options(name)
    except ConfigError:
        pass
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    "text, words",
    [
        ("IdentityFile ${NO_SUCH}/x", r"IdentityFile: \$\{NO_SUCH\}: there is no such environment variable"),
        ("IdentityFile x%q", "IdentityFile: %q has no meaning"),
        ("HostName %n", "HostName: %n has no meaning"),
    ],
)
def test_a_token_without_a_meaning_is_named_for_the_machines_it_concerns(write, text, words):  # findings C9
    path = write(f"Host a\n {text}\n")
    config = SshConfig.load(path)
    assert config.options("b") == HostOptions()
    with pytest.raises(ConfigError, match=words):
        config.options("a")


def test_a_folder_and_a_pipe_are_not_waited_for(write, tmp_path, monkeypatch):  # findings C9
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "d" / "old").mkdir(parents=True)
    os.mkfifo(tmp_path / "d" / "pipe")
    path = write("Include ~/d/*\nUser right\n")
    assert SshConfig.load(path).options("a").user == "right"


lines = st.sampled_from(
    [
        "Host ",
        "Match ",
        "Include ",
        "User ",
        "Port ",
        "IdentityFile ",
        "host=",
        "  ",
        "#",
        '"',
        "\t",
        "%h",
        "!*",
    ]
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.lists(lines | st.text(max_size=8) | st.just("\n"), max_size=30).map("".join))
def test_any_text_is_read_or_refused(write, text):
    path = write("")
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    try:
        SshConfig.load(path).options("10.0.0.1", "pc1")
    except ConfigError as error:
        assert "\n" not in str(error)


patterns = st.from_regex(r"\A!?[ab*?]{1,3}\Z")
blocks = st.tuples(
    st.sampled_from(["Host", "Match host", "Match !host"]), st.lists(patterns, min_size=1, max_size=3)
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(blocks=st.lists(blocks, max_size=5), host=st.from_regex(r"\A[abc]{1,3}\Z"))
def test_blocks_match_whom_they_match_for_openssh(write, blocks, host):
    text = ""
    for number, (keyword, patterns) in enumerate(blocks, 1):
        text += f"{keyword} {(' ' if keyword == 'Host' else ',').join(patterns)}\n Port {number}\n"
    path = write(text)
    assert str(SshConfig.load(path).options(host).port or 22) == openssh(path, host)["port"][0]
