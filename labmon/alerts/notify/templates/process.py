"""A template of other people's, in a process of its own: it cannot hang or fill the memory of its caller.

Run as a program, it reads {"values": ..., "source": ...} as JSON, and writes {"title", "text", "html"} or
{"fault", "line"}.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labmon.alerts.notify.templates.parts import Rendered, TemplateFault
from labmon.errors import ConfigError
from labmon.text import NotText, read_text
from labmon.trust import check_owned

CPU = 2
"""Seconds of CPU that a template may use."""

TIME = 5.0
"""Seconds that it may take, on a machine that is busy as well."""

MEMORY = 512 * 2**20
"""Bytes of memory, of which Python and Jinja need a tenth."""

MAX_SOURCE = 100_000
"""Characters of a file."""


def read(file: str) -> str:
    """The text of a template file. Raises TemplateFault."""
    path = Path(file).expanduser()
    try:
        check_owned(path)
        source = read_text(path)
    except OSError as error:
        raise TemplateFault(f"cannot be read: {error.strerror or error}") from error
    except (NotText, ConfigError) as error:
        raise TemplateFault(str(error)) from error
    if len(source) > MAX_SOURCE:
        raise TemplateFault(f"longer than {MAX_SOURCE} characters")
    return source


def render_apart(values: Mapping[str, Any], source: str) -> Rendered:
    """As `render`, within bounds. Raises TemplateFault."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "labmon.alerts.notify.templates.process"],
            input=json.dumps({"values": values, "source": source}).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=TIME,
            check=False,
            process_group=0,
        )
    except subprocess.TimeoutExpired as error:
        raise TemplateFault(f"not done within {TIME:g} s: a loop that is too long?") from error
    except OSError as error:
        raise TemplateFault(f"cannot be rendered: {error.strerror}") from error
    if done.returncode < 0:
        raise TemplateFault(f"not done within {CPU} s of CPU: a loop that is too long?")
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise TemplateFault(f"it needs more than {MEMORY >> 20} MiB of memory") from None
    if "fault" in answer:
        raise TemplateFault(answer["fault"], answer["line"])
    return Rendered(**answer)


def main() -> None:
    """Render what standard input asks for."""
    from labmon.alerts.notify.templates.render import render

    asked = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        made = render(asked["values"], asked["source"])
        answer: dict[str, Any] = {"title": made.title, "text": made.text, "html": made.html}
    except TemplateFault as fault:
        reason = str(fault)
        prefix = f"line {fault.line}: "
        answer = {"fault": reason.removeprefix(prefix), "line": fault.line}
    except MemoryError:
        answer = {"fault": f"it needs more than {MEMORY >> 20} MiB of memory", "line": None}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
