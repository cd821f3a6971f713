import subprocess

import pytest

from labmon.app.collect.authorized_key import authorized_lines, probe_script
from labmon.config.load import load
from labmon.errors import UsageError


@pytest.fixture
def settings(tmp_path):
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    return lambda **more: load(environ={"LABMON_COLLECT_KEY_FILES": str(key), **more}).config.collect


def test_a_line_permits_the_probe_from_these_addresses_alone(settings):
    (line,) = authorized_lines(settings(), "10.0.0.1,10.0.0.2", "/usr/local/bin/probe", print)
    assert line.startswith("restrict,") and 'from="10.0.0.1,10.0.0.2"' in line
    assert "/usr/local/bin/probe" in line and "ssh-ed25519 " in line


def test_without_sources_it_is_this_machine_and_says_so(settings):
    lines = []
    (line,) = authorized_lines(settings(), None, None, lines.append)
    assert lines[0].startswith("allowed from ") and 'from="' in line


@pytest.mark.parametrize(
    ("sources", "probe", "says"),
    [('10.0.0.1",command="sh', None, "--from"), ("10.0.0.1", "probe; rm", "--probe")],
)
def test_what_could_end_the_option_is_refused(settings, sources, probe, says):
    with pytest.raises(UsageError, match=says):
        list(authorized_lines(settings(), sources, probe, print))


def test_behind_a_bastion_the_address_has_to_be_given(settings):
    with pytest.raises(UsageError, match="address of the bastion"):
        list(authorized_lines(settings(LABMON_COLLECT_PROXY_JUMP="gate"), None, None, print))


def test_the_probe_is_a_shell_script():
    checked = subprocess.run(["sh", "-n"], input=probe_script(), text=True, capture_output=True)
    assert (probe_script()[:10], checked.returncode, checked.stderr) == ("#!/bin/sh\n", 0, "")
