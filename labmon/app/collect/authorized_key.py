"""The line of an authorized_keys file that permits measuring and nothing else."""

import re
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from labmon.errors import UsageError

if TYPE_CHECKING:
    from labmon.config.tables import CollectConfig


def authorized_lines(
    settings: "CollectConfig", sources: str | None, probe: str | None, notice: Callable[[str], None]
) -> Iterator[str]:
    """One line for each key that labmon would log in with. Raises UsageError, ConfigError.

    `sources` is where logins may come from; without it this machine's addresses;
    `notice` gets a line that names them.
    `probe` is the path of the program to run, instead of the probe itself.
    """
    from labmon.collect.ssh.authorized_key import inline, line
    from labmon.collect.ssh.config import HostOptions
    from labmon.collect.ssh.connector import load_ssh_config
    from labmon.collect.ssh.login import Logins
    from labmon.scan.kernel.links import own_addresses

    login = Logins.load(settings, more_keys=load_ssh_config(settings).names_keys).of(HostOptions())
    if not login.keys:
        raise UsageError(
            "there is no key to log in with. Make one with ssh-keygen, or set [collect] key_files"
        )
    if sources is None:
        if settings.proxy_jump:
            raise UsageError("the machines see the address of the bastion: give it with --from")
        own = own_addresses()
        notice(f"allowed from {', '.join(own) or 'this machine only'}. Choose other addresses with --from")
        sources = ",".join(own or ["127.0.0.1"])
    if not re.fullmatch(r"[0-9A-Za-z.:*?!/,_-]+", sources):
        raise UsageError(f"--from {sources}: addresses, networks or names, separated by commas")
    if probe is not None and not re.fullmatch(r"/[\w./+-]+", probe):
        raise UsageError(f"--probe {probe}: the full path of a program, without blanks")
    for _, key in login.keys:
        public = f"{key.get_name()} {key.get_base64()} labmon@{socket.gethostname()}"
        yield line(public, sources.split(","), probe or inline())


def probe_script() -> str:
    """The script, for installing it as the program that --probe names."""
    from labmon.collect.probe.script import SCRIPT

    return "#!/bin/sh\n" + SCRIPT.decode()
