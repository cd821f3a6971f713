"""Colours on a terminal for the words of statuses and severities, which say the same without them.

`NO_COLOR` in the environment turns them off (https://no-color.org), and so does output that is no terminal.
"""

import os
from typing import TextIO

BOLD, FAINT, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"

_WORDS = {
    RED: (
        "critical", "auth failed", "dead", "failed", "given up", "gone", "interrupted", "problem", "refused",
        "timed out", "unreachable",
    ),
    YELLOW: ("firing", "note", "offline", "quarantined", "unknown", "waiting", "warning"),
    GREEN: ("active", "back", "completed", "found", "ok", "resolved", "sent", "up"),
    CYAN: ("discovered", "info", "maintenance", "pending"),
    FAINT: ("ignored", "muted", "retired", "silenced", "superseded"),
}  # fmt: skip

_CODES = {word: code for code, words in _WORDS.items() for word in words}


def coloured(stream: TextIO) -> bool:
    """True where colours are seen as such."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def code_of(text: str) -> str:
    """The code of a word of a status or severity, also of what begins with it ("dead for 3 min"); "" for
    others."""
    lower = text.lower()
    for end in (len(lower), lower.find(","), lower.find(" for "), lower.find(" ")):
        if code := _CODES.get(lower[: max(end, 0)]):
            return code
    return ""


def painted(text: str, code: str) -> str:
    """The text in a colour; as it is without one."""
    return f"\x1b[{code}m{text}\x1b[0m" if code and text else text
