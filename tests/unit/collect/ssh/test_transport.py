"""The parts of paramiko that are not promised, and what comes of an error of the network."""

import ast
import errno
import os
from pathlib import Path

import paramiko
import pytest

from labmon.collect import ssh
from labmon.collect.failures import os_failure
from labmon.collect.ssh.transport import PARTS, BoundedPacketizer, missing_parts, not_forwarded


def test_paramiko_has_the_private_parts_that_labmon_uses():
    missing = missing_parts()
    assert not missing, (
        f"paramiko {paramiko.__version__} lacks {', '.join(missing)}, used by labmon.collect.ssh. "
        "Find what has taken its place, or lower the upper bound of paramiko in pyproject.toml"
    )


def test_a_part_that_a_new_version_lacks_is_named(monkeypatch):
    monkeypatch.delattr(paramiko.Transport, "_next_channel")
    assert missing_parts() == ["Transport._next_channel"]
    monkeypatch.setitem(PARTS, "Channel", ["no_such_part"])
    assert missing_parts() == ["Transport._next_channel", "Channel.no_such_part"]


def test_no_other_module_uses_a_private_part_of_paramiko():
    """An attribute with an underscore, of anything but the module's own objects."""
    checked = 0
    for file in Path(ssh.__file__).parent.glob("*.py"):
        text = file.read_text()
        if file.name == "transport.py" or "import paramiko" not in text:
            continue
        checked += 1
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("paramiko."), (file, node.lineno)
            elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and node.attr[-2:] != "__":
                assert isinstance(node.value, ast.Name) and node.value.id == "self", (file, node.lineno)
    assert checked >= 3


class Broken:
    """A socket whose reading ends with an error of the network."""

    def __init__(self, error):
        self.error = error

    def recv(self, size):
        raise self.error

    def settimeout(self, seconds):
        pass

    def close(self):
        pass


@pytest.mark.parametrize(
    "number, said",
    [
        (errno.EHOSTUNREACH, "unreachable: No route to host"),
        (errno.ENETUNREACH, "unreachable: Network is unreachable"),
        (errno.ECONNRESET, "connection lost: while waiting for its banner: Connection reset by peer"),
    ],
)
def test_an_error_of_the_network_is_kept_where_paramiko_makes_a_text_of_it(number, said):  # findings C8
    packets = BoundedPacketizer(Broken(OSError(number, os.strerror(number))))
    with pytest.raises(OSError):
        packets.readline(1)
    failure = os_failure(packets.os_error, "waiting for its banner").failure
    assert str(failure) == said
    assert failure.silent == (number == errno.EHOSTUNREACH)


@pytest.mark.parametrize(
    "code, text, said, silent",
    [
        (2, "No route to host", "unreachable: from the bastion: No route to host", True),
        (2, "Connection refused", "refused: nothing listens on that port", False),
        (2, "Connection timed out", "unreachable: from the bastion: Connection timed out", False),
        (1, "", "unreachable: the bastion forwards nothing there: see its AllowTcpForwarding", False),
    ],
)
def test_what_a_bastion_says_of_a_machine_is_passed_on(code, text, said, silent):  # findings C8
    failure = not_forwarded(code, text).failure
    assert (str(failure), failure.silent) == (said, silent)
