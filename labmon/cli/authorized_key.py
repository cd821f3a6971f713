"""`labmon collect --print-authorized-key` and `--print-probe`: a login that can only be measured."""

import re
import socket
from typing import TYPE_CHECKING

import typer

from labmon.cli.output import say
from labmon.errors import UsageError

if TYPE_CHECKING:
    from labmon.config import Config


def print_lines(config: "Config", sources: str | None, probe: str | None) -> None:
    """One line for each key that labmon would log in with. Raises UsageError, ConfigError."""
    from labmon.collect.access import load_ssh_config
    from labmon.collect.authorized_key import inline, line
    from labmon.collect.login import Logins
    from labmon.collect.ssh_config import Options
    from labmon.scan.links import own_addresses

    login = Logins.load(config.collect, more_keys=load_ssh_config(config.collect).names_keys).of(Options())
    if not login.keys:
        raise UsageError("there is no key to let in. Make one with ssh-keygen, or set [collect] key_files")
    if sources is None:
        if config.collect.proxy_jump:
            raise UsageError("through a bastion the machines see its address: say it with --from")
        own = own_addresses()
        say(f"good from {', '.join(own) or 'this machine only'}. Choose others with --from")
        sources = ",".join(own or ["127.0.0.1"])
    if not re.fullmatch(r"[0-9A-Za-z.:*?!/,_-]+", sources):
        raise UsageError(f"--from {sources}: addresses, networks or names, separated by commas")
    if probe is not None and not re.fullmatch(r"/[\w./+-]+", probe):
        raise UsageError(f"--probe {probe}: the full path of a program, without blanks")
    for _, key in login.keys:
        public = f"{key.get_name()} {key.get_base64()} labmon@{socket.gethostname()}"
        typer.echo(line(public, sources.split(","), probe or inline()))


def print_probe() -> None:
    """The script, for installing it as the program that --probe names."""
    from labmon.collect.probe import SCRIPT

    typer.echo("#!/bin/sh\n" + SCRIPT.decode(), nl=False)
