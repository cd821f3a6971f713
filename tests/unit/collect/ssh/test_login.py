import logging
import os
import subprocess

import pytest

from labmon.collect.ssh.config import HostOptions
from labmon.collect.ssh.login import Logins
from labmon.config.tables import CollectConfig
from labmon.errors import ConfigError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home folder and an environment with nothing in them."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    return tmp_path


def keygen(path, *options, passphrase=""):
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, *options, "-f", path]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return str(path)


def secret(path, text, mode=0o600):
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def names(login):
    return [name for name, _ in login.of(HostOptions()).keys]


def test_key_files_are_read_in_their_order_and_nothing_else_is(home):
    keygen(home / ".ssh" / "id_ed25519")
    files = [
        keygen(home / "b"),
        keygen(home / "a", "-t", "rsa", "-m", "PEM"),
        keygen(home / "c", "-t", "ecdsa"),
    ]
    logins = Logins.load(CollectConfig(key_files=[*files[:2], "~/c"], user="alice"))
    login = logins.of(HostOptions())
    assert login.user == "alice"
    assert names(logins) == [files[0], files[1], "~/c"]
    assert [key.get_name() for _, key in login.keys] == ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256"]


def test_without_key_files_the_usual_ones_that_need_no_passphrase_are_taken(home):
    keygen(home / ".ssh" / "id_rsa", "-t", "rsa")
    keygen(home / ".ssh" / "id_ecdsa", "-t", "ecdsa", passphrase="secret")
    keygen(home / ".ssh" / "id_ed25519")
    keygen(home / ".ssh" / "another")
    assert names(Logins.load(CollectConfig())) == ["~/.ssh/id_ed25519", "~/.ssh/id_rsa"]


def test_nothing_to_log_in_with_is_said_beforehand():
    with pytest.raises(ConfigError, match="nothing to log in with.*ssh-keygen"):
        Logins.load(CollectConfig())


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda path: None, "the key cannot be read: No such file"),
        (lambda path: path.mkdir(), "the key cannot be read: Is a directory"),
        (lambda path: path.write_text(""), "no private key"),
        (lambda path: path.write_bytes(os.urandom(500)), "no private key"),
        (
            lambda path: path.write_text("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG6afKYmw3wf x\n"),
            "no private key",
        ),
        (lambda path: keygen(path, passphrase="secret"), "has a passphrase. Load it with ssh-add"),
        (lambda path: keygen(path, "-t", "rsa", "-m", "PEM", passphrase="secret"), "has a passphrase"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_named(home, make, words):
    make(home / "key")
    with pytest.raises(ConfigError, match=words) as caught:
        Logins.load(CollectConfig(key_files=[str(home / "key")]))
    assert str(caught.value).startswith(f"{home}/key: ")
    assert "\n" not in str(caught.value)


def test_the_password_is_the_first_line_and_never_shown(home, caplog):
    with caplog.at_level(logging.DEBUG):
        logins = Logins.load(CollectConfig(password_file=secret(home / "pw", " correct horse \r\nsecond\n")))
        login = logins.of(HostOptions())
    assert login.password == " correct horse "
    assert "horse" not in repr(login) + repr(logins) + caplog.text


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda path: None, "cannot be read: No such file"),
        (lambda path: path.write_text("\nsecond line\n"), "first line is empty"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "is not text"),
        (lambda path: os.mkfifo(path, 0o600), "no regular file"),
    ],
)
def test_a_password_file_that_cannot_be_used_is_named(home, make, words):
    make(home / "pw")
    with pytest.raises(ConfigError, match=words) as caught:
        Logins.load(CollectConfig(password_file=str(home / "pw")))
    assert str(caught.value).startswith(f"{home}/pw: ")


def test_a_password_that_others_can_read_is_used_with_a_warning(home, caplog):
    assert Logins.load(CollectConfig(password_file=secret(home / "pw", "x\n", 0o644))).password == "x"
    assert f"chmod 600 {home}/pw" in caplog.text


def test_an_agent_that_is_not_there_is_no_trouble(home, monkeypatch):
    monkeypatch.setenv("SSH_AUTH_SOCK", str(home / "gone"))
    keygen(home / ".ssh" / "id_ed25519")
    assert names(Logins.load(CollectConfig())) == ["~/.ssh/id_ed25519"]


def test_the_password_may_come_from_the_environment_which_wins(home, monkeypatch, caplog):
    from labmon.config import load as settings

    monkeypatch.setenv("LABMON_COLLECT_PASSWORD", "correct horse")
    loaded = settings.load(environ=dict(os.environ))
    config = loaded.config.collect
    with caplog.at_level(logging.DEBUG):
        assert Logins.load(config).of(HostOptions()).password == "correct horse"
    assert "horse" not in caplog.text + str(loaded.rows())


@pytest.mark.parametrize("options", [[], ["-t", "rsa", "-m", "PEM"]])
def test_a_passphrase_opens_the_keys_that_have_one(home, options):
    files = [keygen(home / "a", *options, passphrase="open sesame"), keygen(home / "b")]
    settings = CollectConfig(key_files=files, key_passphrase_file=secret(home / "pp", "open sesame\n"))
    assert names(Logins.load(settings)) == files
    with pytest.raises(ConfigError, match="its passphrase is another"):
        Logins.load(CollectConfig(key_files=files, key_passphrase="wrong"))


def genpkey(path, kind="RSA", *options, passphrase=""):
    """A key in PKCS #8, as openssl writes it."""
    locked = ["-aes256", "-pass", f"pass:{passphrase}"] if passphrase else []
    command = ["openssl", "genpkey", "-algorithm", kind, *options, *locked, "-out", path]
    subprocess.run(command, check=True, capture_output=True)
    return str(path)


@pytest.mark.parametrize("passphrase", ["", "open sesame"])
@pytest.mark.parametrize(
    "kind, option, name",
    [
        ("RSA", ["-pkeyopt", "rsa_keygen_bits:2048"], "ssh-rsa"),
        ("EC", ["-pkeyopt", "ec_paramgen_curve:P-384"], "ecdsa-sha2-nistp384"),
        ("ED25519", [], "ssh-ed25519"),
    ],
)
def test_keys_of_pkcs_8_are_read(home, kind, option, name, passphrase):  # findings C8
    file = genpkey(home / "key", kind, *option, passphrase=passphrase)
    logins = Logins.load(CollectConfig(key_files=[file], key_passphrase=passphrase))
    assert [key.get_name() for _, key in logins.of(HostOptions()).keys] == [name]


@pytest.mark.parametrize(
    "make, passphrase, words",
    [
        (
            lambda path: genpkey(path, passphrase="x" * 8),
            "",
            "the key has a passphrase. Load it with ssh-add",
        ),
        (lambda path: genpkey(path, passphrase="x" * 8), "wrong", "its passphrase is another"),
        (lambda path: genpkey(path, "ED448"), "", "labmon can use RSA, ECDSA and Ed25519 keys, not this"),
        (
            lambda path: path.write_text("PuTTY-User-Key-File-3: ssh-rsa\n"),
            "",
            "puttygen .* -O private-openssh",
        ),
    ],
)
def test_the_reason_why_a_key_cannot_be_used_is_the_right_one(home, make, passphrase, words):  # findings C8
    make(home / "key")
    with pytest.raises(ConfigError, match=words):
        Logins.load(CollectConfig(key_files=[str(home / "key")], key_passphrase=passphrase))


def test_an_identity_file_that_is_not_there_is_said(home, caplog):  # findings C8
    keygen(home / ".ssh" / "id_ed25519")
    (home / "folder").mkdir()
    (home / "text").write_text("hello")
    logins = Logins.load(CollectConfig())
    for _ in range(3):
        files = tuple(str(home / name) for name in ("gone", "folder", "text"))
        login = logins.of(HostOptions(identity_files=files))
    assert [one.partition(f"{home}/")[2] for one in login.unusable] == [
        "gone: the key cannot be read: No such file or directory",
        "folder: the key cannot be read: Is a directory",
        login.unusable[2].partition(f"{home}/")[2],
    ]
    assert "text: this is no private key" in login.unusable[2]
    assert caplog.text.count("none of a machine's own keys can be used: IdentityFile ") == 1


def test_one_of_several_identity_files_may_be_missing_without_a_word(home, caplog):
    own = keygen(home / "own")
    login = Logins.load(CollectConfig(), more_keys=True).of(
        HostOptions(identity_files=(own, str(home / "no")))
    )
    assert len(login.unusable) == 1  # told when the login fails
    assert caplog.text == ""


def test_the_account_of_before_counts_where_none_is_named(home):  # findings A16
    keygen(home / ".ssh" / "id_ed25519")
    remembered = Logins.load(CollectConfig()).of(HostOptions(), remembered="monitor")
    assert (remembered.user, remembered.is_remembered) == ("monitor", True)
    assert Logins.load(CollectConfig()).of(HostOptions(user="bob"), remembered="monitor").user == "bob"
    assert Logins.load(CollectConfig(user="eve")).of(HostOptions(), remembered="monitor").user == "eve"


def test_the_fingerprint_changes_with_the_account_the_keys_and_the_password(home):  # findings A16
    one, two = keygen(home / "one"), keygen(home / "two")

    def fingerprint(**settings):
        return Logins.load(CollectConfig(**settings)).of(HostOptions()).fingerprint

    base = {"user": "a", "key_files": [one]}
    others = [
        base | {"user": "b"},
        base | {"key_files": [two]},
        base | {"key_files": [one, two]},
        base | {"password": "x"},
        base | {"password": "y"},
    ]
    seen = {fingerprint(**settings) for settings in [base, *others]}
    assert len(seen) == 6
    assert fingerprint(**base) == fingerprint(**base) and len(fingerprint(**base)) == 32


def test_a_machine_is_offered_its_own_keys_first_and_each_once(home):
    usual = keygen(home / ".ssh" / "id_ed25519")
    own = keygen(home / "own")
    logins = Logins.load(CollectConfig())
    assert logins.user == ""

    login = logins.of(HostOptions(user="bob", identity_files=(own, usual, str(home / "none"))))
    assert (login.user, [name for name, _ in login.keys]) == ("bob", [own, usual])
    login = logins.of(HostOptions(identity_files=(own,), identities_only=True))
    assert [name for name, _ in login.keys] == [own]


def test_what_labmon_is_told_wins_over_the_ssh_config(home):
    mine, theirs = keygen(home / "mine"), keygen(home / "theirs")
    logins = Logins.load(CollectConfig(user="alice", key_files=[mine]))
    login = logins.of(HostOptions(user="bob", identity_files=(theirs,)))
    assert (login.user, [name for name, _ in login.keys]) == ("alice", [mine])


def test_keys_of_the_ssh_config_may_be_all_there_is(home):
    own = keygen(home / "own")
    login = Logins.load(CollectConfig(), more_keys=True).of(HostOptions(identity_files=(own,)))
    assert [name for name, _ in login.keys] == [own]
