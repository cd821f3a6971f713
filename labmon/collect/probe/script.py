"""The script that measures a machine, as it travels: probe.sh, and probe.ps1 for Windows.

One exec of what `request()` says prints one block that ends with `END`, for `parse.parse`. How the rates in
it come about:

* `request()`: two samples a second apart. Needs nothing, takes a second.
* `request(since=boot_id)`: for a caller that kept the `Sample` of an earlier run, whose boot id this is, and
  gives it to `parse`. One sample, without waiting; when the machine has been restarted since, two, as above.
* `request(loop=True)`: the same, and then the script stays. For each `NEXT` written to its input it prints
  another block, of one sample; it ends with its input. Wait for the first block before the first `NEXT`: some
  shells read on in what follows the script.

* `request(facts=FactsRequest())`: as above, and then what the machine is, by a piece of script that is sent
  before the other.

A forced command in authorized_keys may be the file probe.sh, or any program that runs it: it finds the same
words in SSH_ORIGINAL_COMMAND, and ignores the script on its input. It tells no facts, unless it begins with
facts.sh.
"""

import base64
import re
from dataclasses import dataclass
from importlib import resources

COMMAND = "sh -s"
"""What the login shell is asked to run.

Quoting a script for a login shell that may be bash, fish or csh cannot be done (csh takes no newline inside
quotes), so nothing is quoted: every shell understands plain words.
"""


def _script(name: str) -> bytes:
    """Without its comments and indents: half the bytes, which some shells read one by one."""
    return re.sub(rb"(?m)^[ \t]*(#.*)?\n|^\t+", b"", resources.files(__package__).joinpath(name).read_bytes())


SCRIPT = _script("probe.sh")
"""What comes on its standard input."""

FACTS = _script("facts.sh")
"""What comes before it when facts are asked for, after the lines of `FactsRequest`."""

BEGIN = b"\n#labmon "
END = b"\n#end\n"
NEXT = b"next\n"

BOOT_ID = r"[0-9A-Za-z-]{1,40}"
"""A UUID, or on Windows a number."""

COMMANDS = re.compile(rf"{COMMAND}( since {BOOT_ID})?(?P<facts> facts)?(?P<loop> loop)?", re.ASCII)
"""The commands of `request()`, for a server that allows nothing else."""


SETTINGS = re.compile(rb"(labmon_sudo=yes\n)?(labmon_image='(?:[^'\n]|'\\'')*'\n)?")
"""What `FactsRequest` says before FACTS."""


@dataclass(frozen=True)
class FactsRequest:
    """How a machine is asked about itself. `image_file` is a path there; `sudo` asks for the serial number by
    sudo."""

    image_file: str = ""
    sudo: bool = False

    @property
    def script(self) -> bytes:
        """What comes before SCRIPT."""
        quoted = self.image_file.replace("'", "'\\''")
        image = f"labmon_image='{quoted}'\n" if quoted else ""
        sudo = "labmon_sudo=yes\n" if self.sudo else ""
        return f"{sudo}{image}".encode() + FACTS


# PowerShell's own `-Command -` would run the lines one by one as they are typed. This collects them up to
# "#go", runs them as one, and then waits for more. $input hands on each line as it comes.
_POWERSHELL = """$all = ''; $there = $false
$input | ForEach-Object {
    if ($there) { if ($_ -eq 'next') { Round } }
    elseif ($_ -eq '#go') { $there = $true; Invoke-Expression $all }
    else { $all += $_ + "`n" }
}"""

# Encoded, it is one word, which cmd.exe, PowerShell and bash all leave alone.
WINDOWS_COMMAND = "powershell -NoLogo -NoProfile -NonInteractive -EncodedCommand " + (
    base64.b64encode(_POWERSHELL.encode("utf-16-le")).decode()
)
WINDOWS_SCRIPT = _script("probe.ps1")


def request(
    server: str = "", *, since: str | None = None, loop: bool = False, facts: FactsRequest | None = None
) -> tuple[str, bytes]:
    """The command to run on a machine, and what to write to its standard input.

    `server` is the software it named in its SSH version line, which tells Windows from the others. `since` is
    the boot id of a sample that was kept, if one was.
    """
    words = ["since", since] if since is not None and re.fullmatch(BOOT_ID, since) else []
    is_windows = server.startswith("OpenSSH_for_Windows")
    words += ["facts"] if facts and not is_windows else []
    words += ["loop"] if loop else []
    if is_windows:
        return WINDOWS_COMMAND, b"$asked = '%b'\n%b#go\n" % (" ".join(words).encode(), WINDOWS_SCRIPT)
    return " ".join([COMMAND, *words]), facts.script + SCRIPT if facts else SCRIPT
