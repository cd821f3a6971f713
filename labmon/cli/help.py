"""The help of every command as plain text: two columns, at most 80 characters wide.

Rich's help spends a third of the width on types such as `<int range> [1<=x<=2147483647]`, and most of the
time of `labmon --help` on loading itself. Here a value has the name that its option gives it: N, TIME, LAB.
"""

import shutil
import textwrap
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

WIDEST = 80
LEFT_MOST = 28
"""Characters of the left column at most; the description of a longer option begins below it."""


def use_plain_help(command: Any) -> None:
    """Give a command, and all below it, this help. `Any`: typer carries its own copy of click's classes."""
    command.format_help = partial(_write, command)
    for inner in getattr(command, "commands", {}).values():
        use_plain_help(inner)


def _write(command: Any, ctx: Any, formatter: Any) -> None:
    width = max(40, min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST))
    commands = getattr(command, "commands", {})
    parameters = [one for one in command.get_params(ctx) if not getattr(one, "hidden", False)]
    arguments = [one for one in parameters if one.param_type_name == "argument"]
    words = ["[OPTIONS]", *map(_usage, arguments), *(["COMMAND"] if commands else [])]
    sections = {
        "Arguments": [(_value(one), _described(one)) for one in arguments],
        "Options": [(_names(one), _described(one)) for one in parameters if one not in arguments],
    }
    for name, inner in commands.items():
        summary = (inner.help or "").partition("\n\n")[0]
        sections.setdefault(inner.rich_help_panel or "Commands", []).append((name, _plain(summary)))
    out = [f"Usage: {ctx.command_path} {' '.join(words)}", *paragraphs(command.help or "", width)]
    for heading, rows in sections.items():
        if rows:
            out += ["", f"{heading}:", *columns(rows, width)]
    out += paragraphs(command.epilog or "", width)
    formatter.write("\n".join(out) + "\n")


def paragraphs(text: str, width: int) -> list[str]:
    """The paragraphs of a docstring, each after an empty line; examples are indented and never wrapped."""
    out = []
    for paragraph in text.split("\n\n"):
        lines = paragraph.splitlines()
        if all(line.startswith("labmon ") for line in lines):
            out += ["", *(f"  {line}" for line in lines)]
        else:
            out += ["", *_wrapped(_plain(paragraph), width)]
    return out if text else []


def columns(rows: Sequence[tuple[str, str]], width: int) -> Iterable[str]:
    """Names to the left, descriptions to the right, wrapped."""
    left = min(max(len(name) for name, _ in rows), LEFT_MOST)
    for name, description in rows:
        first, *others = _wrapped(description, width - left - 4) or [""]
        if len(name) > left:
            yield f"  {name}"
            name = ""
        yield f"  {name:<{left}}  {first}".rstrip()
        yield from (" " * (left + 4) + line for line in others)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


def _usage(argument: Any) -> str:
    name = _value(argument)
    return name if argument.required else f"[{name}]"


def _value(parameter: Any) -> str:
    """What stands for a value; an argument that takes several has dots."""
    name = parameter.metavar or parameter.name.upper()
    return f"{name}..." if parameter.nargs == -1 and not name.endswith("...") else name


def _names(option: Any) -> str:
    names = ", ".join(sorted(option.opts, key=len))
    if option.secondary_opts:
        names += f" / {', '.join(option.secondary_opts)}"
    return names if option.is_flag else f"{names} {_value(option)}"


def _described(parameter: Any) -> str:
    """The help text, with the default and how often an option may stand."""
    default = parameter.default if parameter.show_default is True else parameter.show_default
    notes = []
    if default not in (None, False, True, (), []) and not callable(default):
        notes.append(f"default: {getattr(default, 'value', default)}")
    if parameter.required and parameter.param_type_name == "option":
        notes.append("required")
    if getattr(parameter, "multiple", False):
        notes.append("may be repeated")
    return _plain(parameter.help or "") + (f" [{'; '.join(notes)}]" if notes else "")
