import base64

import pytest

from labmon.collect.probe.script import COMMAND, COMMANDS, SCRIPT, WINDOWS_SCRIPT, request

BOOT = "d0e086e9-6b4c-48e2-91fb-18d2e85aa30f"
WINDOWS = "OpenSSH_for_Windows_9.5"


@pytest.mark.parametrize("server", ["", "OpenSSH_9.2p1 Debian-2+deb12u3", "OpenSSH_9.7", "dropbear_2022.83"])
def test_a_shell_is_asked_in_plain_words(server):
    assert request(server) == (COMMAND, SCRIPT)
    assert request(server, since=BOOT) == (f"sh -s since {BOOT}", SCRIPT)
    assert request(server, loop=True) == ("sh -s loop", SCRIPT)
    assert request(server, since=BOOT, loop=True) == (f"sh -s since {BOOT} loop", SCRIPT)


@pytest.mark.parametrize("boot_id", ["", "1; reboot", "$(id)", "a b", "x" * 41, "\n", "é"])
def test_no_boot_id_gets_into_a_command_that_is_none(boot_id):
    """It comes from a machine, or from a file."""
    assert request(since=boot_id) == (COMMAND, SCRIPT)
    command, script = request(WINDOWS, since=boot_id)
    assert (command, script) == request(WINDOWS)


def test_windows_is_asked_with_powershell():
    command, script = request(WINDOWS, since="137", loop=True)
    *words, encoded = command.split()
    assert words == ["powershell", "-NoLogo", "-NoProfile", "-NonInteractive", "-EncodedCommand"]
    assert "'#go'" in base64.b64decode(encoded).decode("utf-16-le")
    assert len(command) < 8191  # all that cmd.exe takes
    assert script.startswith(b"$asked = 'since 137 loop'\n")
    assert script.endswith(b"\n#go\n")


@pytest.mark.parametrize("script", [SCRIPT, WINDOWS_SCRIPT], ids=["sh", "powershell"])
def test_a_script_is_sent_without_its_comments(script):
    assert script.isascii()  # whatever the code page
    assert b"\n#" not in script and b"\n\n" not in script and b"\t#" not in script
    assert not script.startswith(b"#")


def test_a_server_that_lets_probes_through_knows_them_by_their_words():
    for command, _ in (request(), request(since=BOOT)):
        assert not COMMANDS.fullmatch(command)["loop"]
    for command, _ in (request(loop=True), request(since=BOOT, loop=True)):
        assert COMMANDS.fullmatch(command)["loop"]
    for command in (
        "sh",
        "sh -s ",
        "sh -s since",
        "sh -s since 1; id",
        f"sh -s loop since {BOOT}",
        "sh -s loop; id",
        "sh -s\n",
    ):
        assert not COMMANDS.fullmatch(command)
