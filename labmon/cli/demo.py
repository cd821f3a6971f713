"""`labmon demo`: a whole lab on this machine, by the real commands."""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from labmon.cli.output import say
from labmon.errors import Exit, LabmonError

NETWORK = "127.0.0.0/28"
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


def demo(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the demo's folder, to look at its database.")
    ] = False,
) -> None:
    """Run a lab on this machine: a dozen SSH servers on 127.0.0.x, found, measured, queued and stored.

    Nothing leaves the machine, nothing is installed, and the folder of the demo is removed at the end.
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
            environ = _environment(folder, key, server.port)
            for words, arguments in STEPS:
                _step(words, arguments, environ)
    finally:
        if keep:
            say(f"kept: {folder}. Look with: LABMON_STATE_DIR={folder / 'state'} labmon systems list")
        else:
            _remove(folder)


def _environment(folder: Path, key: Path, port: int) -> dict[str, str]:
    """The caller's environment without its labmon settings, and with the demo's."""
    ours = {
        "LABMON_CONFIG": str(folder / "config.toml"),
        "LABMON_STATE_DIR": str(folder / "state"),
        "LABMON_COLLECT_KEY_FILES": str(key),
        "LABMON_COLLECT_PORT": str(port),
    }
    (folder / "config.toml").touch()
    foreign = ("LABMON_", "QUEUE_", "DISCOVERY_QUEUE", "METRICS_QUEUE", "ALERT_QUEUE")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | ours


def _step(words: str, arguments: list[str], environ: dict[str, str]) -> None:
    from rich.text import Text

    from labmon.cli.output import stdout

    console = stdout()
    console.print()
    console.print(Text(f"# {words}", style="dim"))
    console.print(Text(f"$ labmon {shlex.join(arguments)}", style="bold"))
    sys.stdout.flush()
    with subprocess.Popen([sys.executable, "-m", "labmon", *arguments], env=environ) as command:
        try:
            code = command.wait()
        except BaseException:
            command.terminate()  # it may not have got the signal that we got
            raise
    if code == Exit.INTERRUPTED:
        raise typer.Exit(code)
    if code not in (Exit.OK, Exit.SOME_FAILED):
        raise LabmonError(f"the demo's `labmon {shlex.join(arguments)}` ended with {code}")


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
