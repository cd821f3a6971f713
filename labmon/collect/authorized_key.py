"""The line of authorized_keys (sshd(8)) that lets labmon measure a machine, and do nothing else there.

A forced command that runs what comes on its input, as `sh -s` does, would be no restriction at all: whoever
has the key runs anything. So the line holds the probe itself, or the name of a file that does.
"""

import base64
import gzip
from collections.abc import Sequence

from labmon.collect.probe import SCRIPT


def inline() -> str:
    """A command that runs the probe and needs nothing installed: the script is in it, packed.

    Any login shell understands single quotes, and nothing in there means anything to one. The standard input
    stays that of the connection, for the probe's own use.
    """
    packed = base64.b64encode(gzip.compress(SCRIPT, 9, mtime=0)).decode()
    return f"sh -c 'eval \"$(echo {packed}|base64 -d|gzip -d)\"'"


def line(public_key: str, sources: Sequence[str], command: str) -> str:
    """`sources` are the addresses from which the key is good; `restrict` (OpenSSH 7.2) forbids a terminal,
    forwarding, and whatever else later versions may invent."""
    quoted = command.replace('"', '\\"')
    return f'restrict,from="{",".join(sources)}",command="{quoted}" {public_key}'
