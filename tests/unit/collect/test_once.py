import subprocess
import sys
from datetime import UTC, datetime

import pytest

from labmon.collect.failures import Failure, one_line
from labmon.collect.once import Result, Target, collect
from labmon.config.tables import CollectConfig
from labmon.errors import ConfigError, UsageError
from labmon.messages import Metrics, Readings

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
READINGS = Readings(cpu_percent=1.0)


def test_a_result_becomes_a_message_when_the_store_knows_the_machine():
    result = Result(Target("10.0.0.1", 22, 42), READINGS, NOW, None, 1.2)
    assert result.message == Metrics(system_id=42, collected_at=NOW, metrics=READINGS)


@pytest.mark.parametrize(
    "result",
    [
        Result(Target("10.0.0.1"), READINGS, NOW, None, 1.2),
        Result(Target("10.0.0.1", 22, 42), None, None, Failure("refused", "nothing listens"), 0.1),
    ],
)
def test_no_message_for_a_stranger_or_a_failure(result):
    assert result.message is None


@pytest.mark.parametrize("address, port", [("lab-pc-01", 22), ("", 22), ("10.0.0.1/24", 22), ("10.0.0.1", 0)])
def test_a_target_is_an_ip_address_and_a_port(address, port):
    with pytest.raises(UsageError):
        Target(address, port)


def test_a_target_is_called_by_its_name_if_it_has_one():
    assert str(Target("2001:db8::1")) == "2001:db8::1"
    assert str(Target("10.0.0.1", name="lab-pc-01")) == "lab-pc-01 (10.0.0.1)"


def test_what_is_misconfigured_is_said_at_the_call_and_not_later(tmp_path):
    with pytest.raises(ConfigError, match="gone: the key cannot be read"):
        collect([Target("127.0.0.1")], CollectConfig(key_files=[str(tmp_path / "gone")]), state_dir=tmp_path)


def test_no_targets_need_no_keys(tmp_path):
    assert list(collect([], CollectConfig(), state_dir=tmp_path)) == []


def test_importing_the_runner_does_not_load_the_ssh_library():
    code = "import sys, labmon.collect.once; sys.exit(bool({'paramiko', 'cryptography'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_what_a_machine_said_is_fit_for_one_line():
    assert one_line(b"\x1b[1mno\r\n\x00such\xff file\n") == "[1mno such\ufffd file"
    assert one_line("c1 \x85\x9b31m and \u2028 break lines too") == "c1  31m and   break lines too"
    assert one_line("x" * 500, 10) == "xxxxxxx..."
    assert one_line(b"x" * 10**7, 10) == "xxxxxxx..."
