"""What comes of a template, and what can be wrong with one."""

from dataclasses import dataclass

BUILT_IN = "built-in"
"""The name of the template that is used where a target has none, and that others may extend."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A notification as people read it. No `html`: the template has none."""

    title: str
    text: str
    html: str | None
    problem: str = ""  #: why it is the built-in text instead of the target's own


class TemplateFault(Exception):
    """A template does not render: one line, which begins with the line of the file where that is known."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(f"line {line}: {reason}" if line else reason)
        self.line = line
