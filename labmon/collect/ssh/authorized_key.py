"""The line of authorized_keys (sshd(8)) that lets labmon measure a machine, and do nothing else there.

A forced command that runs its standard input, as `sh -s` does, would be no restriction: the key could run
anything. So the line holds the probe itself, or the name of a file with it.
"""

import base64
import gzip
from collections.abc import Sequence

from labmon.collect.probe.script import SCRIPT


def inline() -> str:
    """A command that runs the probe and needs nothing installed: it contains the script, compressed.

    Every login shell understands single quotes and leaves what is in them alone. The standard input stays
    that of the connection, for the probe's own use.
    """
    packed = base64.b64encode(gzip.compress(SCRIPT, 9, mtime=0)).decode()
    return f"sh -c 'eval \"$(echo {packed}|base64 -d|gzip -d)\"'"


def line(public_key: str, sources: Sequence[str], command: str) -> str:
    """`sources`: addresses from which the key is accepted. `restrict` (OpenSSH 7.2) forbids a terminal,
    forwarding, and everything else that later versions add."""
    quoted = command.replace('"', '\\"')
    return f'restrict,from="{",".join(sources)}",command="{quoted}" {public_key}'
