"""A whole lab on this machine, and what is done with it by the real commands."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from labmon.errors import Exit, LabmonError

NETWORK = "127.0.0.0/28"

LONGEST_END = 20.0
"""Seconds for a command to end by itself."""

MACHINES = 12
"""Of the fourteen addresses that answer in that network; the other two show what a failure looks like."""

STEPS: list[tuple[str, list[str]]] = [
    ("Find the machines of department 1.", ["scan", NETWORK, "--dept", "1"]),
    ("Make the queues.", ["setup-queues"]),
    ("Measure every machine over SSH, through the queue.", ["collect", "--all", "--queue-enabled"]),
    ("The measurements are waiting.", ["queue-depth"]),
    ("Store them.", ["consume", "--until-empty"]),
    ("And there they are.", ["systems", "list"]),
]

DEMO = "LABMON_DEMO"
"""Set in the environment of the demo's commands: a hint to add users would be about another database."""

LAB = ["labs", "set", "Demo lab", "--dept", "1", "--add", NETWORK]

BESIDE: list[list[str]] = [
    ["collect", "--all", "--queue-enabled", "--every", "5s"],
    ["consume"],
]
"""What keeps the dashboard's data new."""


@contextmanager
def demo_lab(kept: Callable[[Path], None] | None) -> Iterator[dict[str, str]]:
    """SSH servers, a key and a database, while the block runs; yields the environment for commands.

    At the end the servers stop, and the folder is removed, or given to `kept`.
    """
    from labmon.demo.sshd import DemoServer
    from labmon.store.embedded import Embedded

    # Run by root, the database has an account of its own, which must get in; root's TMPDIR may be closed.
    folder = Path(tempfile.mkdtemp(prefix="labmon-demo-", dir="/tmp" if os.geteuid() == 0 else None))
    folder.chmod(0o711)
    addresses = [f"127.0.0.{n}" for n in range(1, MACHINES + 1)]
    key = folder / "key"
    try:
        # A share in the database, so that it is started once and not by each command.
        with DemoServer(addresses, key_file=key) as server, Embedded(folder / "state"):
            yield _environment(folder, key, server.port)
    finally:
        if kept:
            kept(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)


SIGNALLED = 128
"""Larger exit codes: a signal ended it."""


def run(arguments: list[str], environ: dict[str, str]) -> int:
    """Run `labmon` with these arguments. Returns its exit code. Raises LabmonError when it failed."""
    with subprocess.Popen([sys.executable, "-m", "labmon", *arguments], env=environ) as command:
        try:
            code = command.wait()
        except BaseException:
            command.terminate()  # it may not have got the signal that we got
            raise
    if code not in (Exit.OK, Exit.SOME_FAILED) and code <= SIGNALLED:
        raise LabmonError(f"the demo's `labmon {shlex.join(arguments)}` ended with {code}")
    return code


@contextmanager
def live(environ: dict[str, str]) -> Iterator[None]:
    """Measure and store without end while the block runs; what the commands print goes to a file each."""
    folder = Path(environ["LABMON_STATE_DIR"]).parent
    with ExitStack() as stack:
        for arguments in BESIDE:
            output = stack.enter_context(open(folder / f"{arguments[0]}.log", "wb"))
            command = subprocess.Popen(
                [sys.executable, "-m", "labmon", *arguments], env=environ, stdout=output, stderr=output
            )
            stack.callback(_end, command)
        yield


def _end(command: subprocess.Popen[bytes]) -> None:
    command.terminate()  # SIGTERM: what was measured is stored first
    try:
        command.wait(LONGEST_END)
    except subprocess.TimeoutExpired:
        command.kill()
        command.wait()


def free_port(wanted: int) -> int:
    """This port, or another one where something listens already."""
    for port in (wanted, 0):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)) as server:
            found: int = server.getsockname()[1]
            return found
    raise LabmonError("the demo's dashboard finds no free port on 127.0.0.1")


def _environment(folder: Path, key: Path, port: int) -> dict[str, str]:
    """The caller's environment without its labmon settings, and with the demo's."""
    ours = {
        "LABMON_CONFIG": str(folder / "config.toml"),
        "LABMON_STATE_DIR": str(folder / "state"),
        DEMO: "1",
        "LABMON_COLLECT_KEY_FILES": str(key),
        "LABMON_COLLECT_PORT": str(port),
    }
    (folder / "config.toml").touch()
    foreign = ("LABMON_", "QUEUE_", "DISCOVERY_QUEUE", "METRICS_QUEUE", "ALERT_QUEUE")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | ours
