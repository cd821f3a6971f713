"""The one script that measures a machine, as it travels."""

import re
from importlib import resources

COMMAND = "sh -s"
"""What the login shell is asked to run, with `SCRIPT` on its standard input.

Quoting a script for a login shell that may be bash, fish or csh cannot be done (csh takes no newline inside
quotes), so nothing is quoted: every shell understands these two words. A forced command that prints the same
text without reading its input serves as well.
"""

SCRIPT = re.sub(
    rb"(?m)^[ \t]*(#.*)?\n|^\t+", b"", resources.files(__package__).joinpath("probe.sh").read_bytes()
)
"""probe.sh without its comments: half the bytes, which some shells read one by one."""

BEGIN = b"\n#labmon "
END = b"\n#end\n"
