"""The Lua scripts of the Redis broker, each in a file of its own and loaded by its name.

A script runs as a whole: no other client comes between its look at an entry and what it does to it.
Settling begins with `ours.lua`.
"""

from importlib.resources import files


def load(name: str, *, settles: bool = False) -> str:
    """The text of `NAME.lua`, for EVAL."""
    folder = files(__name__)
    names = ["ours.lua"] * settles + [f"{name}.lua"]
    return "\n".join(folder.joinpath(one).read_text(encoding="utf-8") for one in names)
