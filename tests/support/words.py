"""The words that users read: what the project says, and what it no longer says."""

import re

FORBIDDEN = [
    r"so many",
    r"so long",
    r"who(m)?ever",
    r"who failed",
    r"who is",
    r"whom",
    r"told",
    r"tell(s|ing)?",
    r"said",
    r"keep(s|ing)? house",
    r"look(s|ed)? after",
    r"affair",
    r"what (the )?queues? bring",
    r"once more",
    r"left out",
    r"nobody",
    r"anew",
    r"lane",
    r"machines? who",
    r"computers?",
    r"in vain",
    r"<\w[\w ]*>",
    r"integer range",
    r"float range",
]
"""Regular expressions, whole words, of the riddles and synonyms that plain English has replaced."""

_PATTERN = re.compile("|".join(rf"(?<![\w-]){word}(?![\w-])" for word in FORBIDDEN), re.IGNORECASE)


def forbidden_in(text: str) -> list[str]:
    """The forbidden words of a text, with the characters around each."""
    text = " ".join(text.split())
    return [text[max(0, one.start() - 20) : one.end() + 20] for one in _PATTERN.finditer(text)]
