"""The sample file: every key, its default, what it does."""

import textwrap

import msgspec

from labmon.config.keys import KEYS, to_toml
from labmon.config.tables import Config


def sample() -> str:
    """The text of the commented configuration file."""
    out = [
        "# labmon configuration. Every key is listed with its default; delete what you do not change.",
        "# Each key is also an environment variable, LABMON_<TABLE>_<KEY>, which overrides this file.",
        "# Check it with: labmon config check",
    ]
    for table in msgspec.structs.fields(Config):
        out += ["", f"# {table.type.__doc__}", f"[{table.name}]"]
        for key in KEYS.values():
            if key.table == table.name:
                line = f"{key.name} = {to_toml(key.default)}"
                out += [*_wrapped(key.comment), textwrap.indent(key.example, "# ") or line]
    return "\n".join(out) + "\n"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent="# ", subsequent_indent="# ")
