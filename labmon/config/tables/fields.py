"""What the tables of the configuration are made of: the base of their structs, comments, types they share."""

from collections.abc import Iterator
from typing import Annotated, Any

from msgspec import Meta, Struct


class Table(Struct, frozen=True, kw_only=True):
    """A table of the file. Its docstring is the comment above it in the sample file."""

    def faults(self) -> Iterator[tuple[str, str]]:
        """What is wrong with values that are right one by one: (key, text) each."""
        yield from ()


def comment(
    text: str, *, secret: bool = False, least: float | None = None, example: str = "", **bounds: Any
) -> Meta:
    """The comment of a key, and what is checked beyond its type.

    `least`: the smallest duration or size, which msgspec cannot bound. `example`: for lists of tables, which
    the sample file shows instead of an empty list; such a key is the last of its table.
    """
    return Meta(description=text, extra={"secret": secret, "least": least, "example": example}, **bounds)


# The title of a pattern is what an error says instead of it.
QueueName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9_.:-]{1,200}$", title="up to 200 letters, digits and . _ : -")
]
WholePath = Annotated[str, Meta(pattern=r"^(/[^\x00-\x1f\x7f]*)?$", title="a path that begins with /")]
Number = Annotated[int, Meta(ge=1, le=2**31 - 1)]
"""Of a department or a lab."""
Port = Annotated[int, Meta(ge=1, le=65535)]
HighPriority = Annotated[
    str,
    Meta(pattern=r"^(dept|lab|system):[1-9][0-9]{0,9}$", title='such as "dept:1", "lab:3" or "system:42"'),
]
RootPath = Annotated[
    str, Meta(pattern=r"^(/[A-Za-z0-9_.~-]+)*$", title='a path such as "/labmon", or nothing')
]
