"""Collecting from a real OpenSSH server."""

import os
import shutil
import subprocess
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form

from labmon.collect.hostkeys.pins import Pins
from labmon.collect.hostkeys.policy import FILE
from labmon.collect.probe import script
from tests.conftest import started
from tests.support.sshd import Sshd, can_make_accounts

PROBE = Path(script.__file__).with_name("probe.sh")

needs_accounts = pytest.mark.skipif(
    not can_make_accounts() and os.environ.get("CI") != "true",
    reason="accounts for a private sshd need root and mount namespaces",
)


def failure(result):
    assert result.readings is None and result.collected_at is None and result.message is None
    return result.failure.reason, result.failure.detail


def test_a_machine_is_measured_in_one_login(sshd, measure, no_leaks, stalled):
    [result] = measure(sshd)

    assert result.failure is None, result.failure
    assert 0 <= result.readings.cpu_percent <= 100
    assert 0 < result.readings.ram_percent < 100
    assert result.readings.uptime_seconds == pytest.approx(
        float(Path("/proc/uptime").read_text().split()[0]), abs=5
    )
    assert abs(result.collected_at - datetime.now(UTC)) < timedelta(seconds=5)
    assert abs(result.clock_skew) < 2
    assert 1 <= result.seconds < 5 + stalled()
    assert result.message.system_id == 1
    assert result.message.metrics == result.readings


def test_many_machines_are_measured_at_once(sshd, measure, no_leaks):
    results = measure(sshd, *sshd.addresses, deadline=20)
    assert [str(result.failure) for result in results if result.failure] == []
    assert len(results) == len(sshd.addresses) == 16
    assert max(result.seconds for result in results) < 15


def test_a_key_that_is_not_let_in_is_named(sshd, measure, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    [result] = measure(sshd, key_files=[str(tmp_path / "other")])
    reason, detail = failure(result)
    assert reason == "auth failed"
    assert f"it refused key {tmp_path}/other" in detail
    assert f"as {sshd.user}" in detail


def test_the_second_key_is_tried_when_the_first_is_refused(sshd, measure, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", tmp_path / "other"], check=True)
    [result] = measure(sshd, key_files=[str(tmp_path / "other"), str(sshd.key_file)])
    assert result.failure is None


def test_too_many_keys_are_refused_with_the_next_step(sshd, measure, tmp_path):
    keys = []
    for number in range(7):
        keys.append(str(tmp_path / f"key{number}"))
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", keys[-1]], check=True)
    [result] = measure(sshd, key_files=keys)
    reason, detail = failure(result)
    assert reason == "auth failed"
    assert "hung up" in detail and "key_files" in detail


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_other_kinds_of_keys_work_on_both_sides(own_sshd, measure, kind):
    own_sshd.stop()
    own_sshd.keygen("client_key", kind)
    own_sshd.keygen("host_key", kind)
    own_sshd.authorize()
    own_sshd.start()
    for _ in range(2):  # the second time by the host key that is known
        [result] = measure(own_sshd)
        assert result.failure is None, result.failure


def test_the_keys_of_the_agent_are_used_and_shared_by_all_sessions(sshd, measure, tmp_path, monkeypatch):
    socket = tmp_path / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        environ = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        for _ in range(100):
            if (
                subprocess.run(
                    ["ssh-add", "-q", sshd.key_file], env=environ, stderr=subprocess.DEVNULL
                ).returncode
                == 0
            ):
                break
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        results = measure(sshd, *sshd.addresses[:16], key_files=[])
        assert [str(result.failure) for result in results if result.failure] == []
    finally:
        agent.terminate()
        agent.wait(10)


def test_a_usual_key_in_the_home_folder_is_found(sshd, measure, tmp_path):
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    shutil.copy(sshd.key_file, tmp_path / "home" / ".ssh" / "id_ed25519")
    [result] = measure(sshd, key_files=[])
    assert result.failure is None


@needs_accounts
def test_a_password_is_used_when_there_is_no_key(sshd, measure, tmp_path):
    file = tmp_path / "password"
    file.touch(mode=0o600)
    file.write_text(f"{sshd.PASSWORD}\nand a second line\n")
    [result] = measure(sshd, key_files=[], password_file=str(file), password_to="any")
    assert result.failure is None, result.failure


def test_a_wrong_password_is_refused_and_not_shown(sshd, measure, tmp_path, caplog):
    file = tmp_path / "password"
    file.touch(mode=0o600)
    file.write_text("horse battery\n")
    [result] = measure(sshd, key_files=[], password_file=str(file), password_to="any")
    reason, detail = failure(result)
    assert reason == "auth failed"
    assert "it refused the password" in detail
    assert "horse" not in detail + caplog.text


def test_a_server_that_takes_no_keys_says_what_it_takes(own_sshd, measure):
    own_sshd.stop()
    own_sshd.options.append("PubkeyAuthentication no")
    own_sshd.start()
    [result] = measure(own_sshd)
    reason, detail = failure(result)
    assert reason == "auth failed"
    assert "takes only: password" in detail


def test_a_changed_host_key_is_refused_until_it_is_trusted(own_sshd, measure, tmp_path):
    assert measure(own_sshd)[0].failure is None
    own_sshd.stop()
    own_sshd.keygen("host_key")
    own_sshd.start()

    reason, detail = failure(measure(own_sshd)[0])
    assert reason == "host key changed"
    assert detail.count("SHA256:") == 2

    with closing(Pins(tmp_path / "state" / FILE)) as pins:
        pins.trust(pins.refused())
    assert measure(own_sshd)[0].failure is None


def test_nothing_secret_is_sent_to_a_machine_whose_key_changed(own_sshd, measure, tmp_path):
    measure(own_sshd)
    own_sshd.stop()
    own_sshd.keygen("host_key")
    own_sshd.options.append("LogLevel VERBOSE")
    own_sshd.start()
    before = len(own_sshd.log)
    assert failure(measure(own_sshd)[0])[0] == "host key changed"
    assert "publickey" not in own_sshd.log[before:]


def test_a_second_host_key_of_another_type_is_no_change(own_sshd, measure):
    """It is known by its RSA key; now it has an ed25519 key as well, which would be preferred."""
    ed25519 = own_sshd.host_key
    own_sshd.stop()
    own_sshd.host_key = own_sshd.keygen("rsa_key", "rsa")
    own_sshd.start()
    assert measure(own_sshd)[0].failure is None
    own_sshd.stop()
    own_sshd.options.append(f"HostKey {ed25519}")
    own_sshd.start()
    assert measure(own_sshd)[0].failure is None


def test_strict_wants_the_key_beforehand(sshd, measure, tmp_path):
    reason, detail = failure(measure(sshd, host_keys="strict")[0])
    assert reason == "host key unknown"
    assert "SHA256:" in detail

    with open(tmp_path / "state" / "known_hosts", "w") as file:
        subprocess.run(
            ["ssh-keyscan", "-p", str(sshd.port), "127.0.0.1"], stdout=file, stderr=subprocess.DEVNULL
        )
    assert measure(sshd, host_keys="strict")[0].failure is None


def test_off_minds_no_key_and_remembers_none(own_sshd, measure, tmp_path):
    assert measure(own_sshd, host_keys="off")[0].failure is None
    own_sshd.stop()
    own_sshd.keygen("host_key")
    own_sshd.start()
    assert measure(own_sshd, host_keys="off")[0].failure is None
    assert not (tmp_path / "state").exists()


def test_the_least_privilege_line_lets_the_probe_through(own_sshd, measure):
    own_sshd.authorize(f'restrict,from="127.0.0.0/8",command="sh {PROBE}"')
    [result] = measure(own_sshd)
    assert result.failure is None, result.failure


@pytest.mark.parametrize(
    "command, reason, words",
    [
        ("exit 3", "probe failed", "exit status 3"),
        ("echo no such thing >&2; exit 127", "probe failed", "exit status 127: no such thing"),
        ("kill -9 $$", "probe failed", "killed"),
        ("true", "output unusable", "no output"),
        ("echo hello", "output unusable", "not the probe's output: 'hello'"),
        ("sh {probe} | head -c 700", "output unusable", "breaks off after 700 bytes"),
        ("sh {probe} | head -c 700; exit 1", "probe failed", "exit status 1"),
        ("yes", "output unusable", "more than 1048576 bytes"),
        ("yes | tr -d '\\n'", "output unusable", "more than 1048576 bytes"),
        ("yes >&2", "timed out", "running the probe"),
        ("sleep 60", "timed out", "running the probe"),
        ("sh {probe} | head -c 700; sleep 60", "timed out", "running the probe"),
        ("sh {probe} | head -c 700; kill -9 $PPID", "connection lost", "while running the probe"),
    ],
)
def test_a_command_that_does_not_do_its_work(own_sshd, measure, no_leaks, stalled, command, reason, words):
    own_sshd.authorize('command="' + command.format(probe=PROBE) + '"')
    [result] = measure(own_sshd, deadline=3.0)
    assert failure(result)[0] == reason
    assert words in failure(result)[1]
    assert result.seconds < 3.5 + stalled()


def test_what_a_login_leaves_running_is_not_waited_for(own_sshd, measure, stalled):
    own_sshd.authorize(f'command="sleep 30 & sh {PROBE}"')
    [result] = measure(own_sshd)
    assert result.failure is None
    assert result.seconds < 5 + stalled()


def test_a_server_that_allows_no_session(own_sshd, measure):
    own_sshd.stop()
    own_sshd.options.append("MaxSessions 0")
    own_sshd.start()
    reason, detail = failure(measure(own_sshd)[0])
    assert reason == "probe failed"
    assert "no session" in detail


def test_a_server_with_no_common_algorithm(own_sshd, measure):
    own_sshd.stop()
    own_sshd.options.append("Ciphers chacha20-poly1305@openssh.com")
    own_sshd.start()
    reason, detail = failure(measure(own_sshd)[0])
    assert reason == "no ssh"
    assert "ciphers" in detail


@pytest.mark.parametrize(
    "option, words, cure",
    [
        ("HostKeyAlgorithms ssh-rsa", "offers ssh-rsa (SHA-1 is not used any more)", "HostKeyAlgorithms"),
        ("KexAlgorithms diffie-hellman-group14-sha1", "offers diffie-hellman-group14-sha1", "KexAlgorithms"),
        ("Ciphers chacha20-poly1305@openssh.com", "offers chacha20-poly1305@openssh.com", "Ciphers have aes"),
        (
            "MACs umac-64@openssh.com\nCiphers aes256-ctr",
            "offers umac-64@openssh.com",
            "MACs have hmac-",
        ),
    ],
)
def test_a_server_with_old_algorithms_is_told_what_would_cure_it(
    own_sshd, measure, option, words, cure
):  # findings C8
    own_sshd.stop()
    own_sshd.host_key = own_sshd.keygen("rsa_key", "rsa")
    own_sshd.options.append(option)
    own_sshd.start()
    reason, detail = failure(measure(own_sshd)[0])
    assert reason == "no ssh"
    assert words in detail and cure in detail, detail


def test_an_rsa_key_for_a_server_that_takes_only_sha_1(own_sshd, measure):  # findings C8
    own_sshd.stop()
    key = own_sshd.keygen("client_key", "rsa")
    own_sshd.authorize()
    own_sshd.options.append("PubkeyAcceptedAlgorithms ssh-rsa")
    own_sshd.start()
    reason, detail = failure(measure(own_sshd, key_files=[str(key)])[0])
    assert reason == "auth failed"
    assert "PubkeyAcceptedAlgorithms allows only ssh-rsa (SHA-1)" in detail  # newer ones say so themselves


@pytest.mark.parametrize("passphrase", ["", "open sesame"])
@pytest.mark.parametrize("kind", ["rsa", "ec", "ed25519"])
def test_a_key_of_openssl_logs_in(own_sshd, measure, kind, passphrase):  # findings C8
    path = own_sshd.folder / "client_key"
    options = {"rsa": ["-pkeyopt", "rsa_keygen_bits:2048"], "ec": ["-pkeyopt", "ec_paramgen_curve:P-256"]}
    locked = ["-aes256", "-pass", f"pass:{passphrase}"] if passphrase else []
    command = [
        "openssl",
        "genpkey",
        "-algorithm",
        kind.upper(),
        *options.get(kind, []),
        *locked,
        "-out",
        path,
    ]
    path.unlink()
    subprocess.run(command, check=True, capture_output=True)
    path.chmod(0o600)
    assert ("ENCRYPTED" if passphrase else "BEGIN PRIVATE KEY") in path.read_text()
    private = form.load_pem_private_key(path.read_bytes(), passphrase.encode() or None)
    public = private.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    own_sshd.authorized.write_text(public.decode() + "\n")
    [result] = measure(own_sshd, key_files=[str(path)], key_passphrase=passphrase)
    assert result.failure is None, result.failure


def test_a_server_with_modern_algorithms_only(own_sshd, measure):
    own_sshd.stop()
    own_sshd.options += [
        "KexAlgorithms curve25519-sha256@libssh.org",
        "Ciphers aes256-ctr",
        "MACs hmac-sha2-512-etm@openssh.com",
    ]
    own_sshd.start()
    assert measure(own_sshd)[0].failure is None


def test_a_server_that_goes_away_in_the_middle(own_sshd, measure, stalled):
    """The session's process dies, as when the machine is switched off cleanly."""
    import threading
    import time

    def switch_off():
        for _ in range(100):
            time.sleep(0.05)
            if len(own_sshd.sessions()) >= 3:  # sshd's, and the shell that sleeps
                break
        own_sshd.stop()

    thread = threading.Thread(target=switch_off)
    thread.start()
    [result] = measure(own_sshd)
    thread.join()
    assert failure(result)[0] in ("connection lost", "probe failed")
    assert result.seconds < 5 + stalled()


SHELLS = ["bash", "dash", "zsh", "fish", "tcsh", "mksh", "rbash"]


@pytest.fixture(scope="module")
def many_shells():
    shells = {f"u{shell}": f"/bin/{shell}" for shell in SHELLS if Path("/bin", shell).exists()}
    yield from started(lambda: Sshd(accounts={**shells, "unologin": "/usr/sbin/nologin"}))


@needs_accounts
@pytest.mark.parametrize("shell", SHELLS)
def test_any_login_shell_will_do(many_shells, measure, shell):
    if f"u{shell}" not in many_shells.accounts:
        pytest.skip(f"{shell} is not installed")
    [result] = measure(many_shells, user=f"u{shell}")
    assert result.failure is None, result.failure
    assert result.readings.cpu_percent is not None


@needs_accounts
@pytest.mark.parametrize(
    "shell, file, text",
    [
        ("bash", ".bashrc", "echo '#cpu'; printf 'Gr\\xfc\\xdfe, no newline'; echo oops >&2"),
        ("fish", ".config/fish/config.fish", "echo hello; printf '\\e[1mfish'"),
        ("tcsh", ".cshrc", "echo hello; stty erase x"),
        ("zsh", ".zshenv", "echo hello; setopt no_such_option"),
    ],
)
def test_what_a_login_prints_does_no_harm(many_shells, measure, shell, file, text):
    if f"u{shell}" not in many_shells.accounts:
        pytest.skip(f"{shell} is not installed")
    path = many_shells.folder / "home" / f"u{shell}" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
    [result] = measure(many_shells, user=f"u{shell}")
    assert result.failure is None, result.failure


@needs_accounts
def test_an_account_that_may_not_log_in_says_so(many_shells, measure):
    reason, detail = failure(measure(many_shells, user="unologin")[0])
    assert reason == "probe failed"
    assert "not available" in detail


def authorized_line(sshd, **options):
    """The line that `labmon collect --print-authorized-key` prints for the server's client key."""
    from labmon.app.collect.authorized_key import authorized_lines
    from labmon.config.tables import CollectConfig

    settings = CollectConfig(key_files=[str(sshd.key_file)], user=sshd.user)
    sources, probe = options.get("sources", "127.0.0.0/8"), options.get("probe")
    return "".join(f"{line}\n" for line in authorized_lines(settings, sources, probe, pytest.fail))


def ssh(sshd, *arguments, user=None):
    """The real client, with the server's client key."""
    options = [
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "BatchMode=yes",
        "IdentitiesOnly=yes",
    ]
    command = ["ssh", "-F", "/dev/null", "-i", sshd.key_file, "-p", str(sshd.port)]
    for option in options:
        command += ["-o", option]
    command += ["-l", user or sshd.user, *arguments]
    return subprocess.run(command, input="echo from stdin\n", capture_output=True, text=True, timeout=20)


def test_the_printed_line_lets_labmon_measure_and_do_nothing_else(own_sshd, measure, capsys):
    own_sshd.authorized.write_text(authorized_line(own_sshd))

    [result] = measure(own_sshd)
    assert result.failure is None, result.failure
    assert result.readings.cpu_percent is not None

    # Whatever else is asked for, on the command line or standard input, gets the probe's output.
    own_sshd.folder.chmod(0o777)
    target = own_sshd.folder / "touched"
    for command in (f"touch {target}", f"sh -c 'touch {target}'", "sh -s", ""):
        done = ssh(own_sshd, "127.0.0.1", *command.split())
        assert "#labmon" in done.stdout and "from stdin" not in done.stdout, command
    assert not target.exists()
    # No terminal, no forwarding, no other subsystem.
    assert "PTY allocation request failed" in ssh(own_sshd, "-tt", "127.0.0.1").stderr
    forward = ssh(own_sshd, "-W", f"127.0.0.1:{own_sshd.port}", "127.0.0.1")
    assert "administratively prohibited" in forward.stderr and "SSH-2.0" not in forward.stdout


def test_the_printed_line_is_good_from_there_only(own_sshd, measure, capsys):
    own_sshd.authorized.write_text(authorized_line(own_sshd, sources="10.0.0.1"))
    assert failure(measure(own_sshd)[0])[0] == "auth failed"


def test_the_printed_line_may_name_the_probe_as_a_file(own_sshd, measure, capsys):
    from labmon.app.collect.authorized_key import probe_script

    line = authorized_line(own_sshd, probe=str(own_sshd.folder / "labmon-probe"))
    assert len(line) < 300
    own_sshd.authorized.write_text(line)
    installed = own_sshd.folder / "labmon-probe"
    installed.write_text(probe_script())
    installed.chmod(0o755)
    [result] = measure(own_sshd)
    assert result.failure is None, result.failure


@needs_accounts
@pytest.mark.parametrize("shell", SHELLS)
def test_the_printed_line_suits_any_login_shell(many_shells, measure, capsys, shell):
    if f"u{shell}" not in many_shells.accounts:
        pytest.skip(f"{shell} is not installed")
    before = many_shells.authorized.read_text()
    many_shells.authorized.write_text(authorized_line(many_shells))
    try:
        [result] = measure(many_shells, user=f"u{shell}")
    finally:
        many_shells.authorized.write_text(before)
    assert result.failure is None, result.failure
    assert result.readings.cpu_percent is not None
