"""What the parser of the command line says of a mistake, in labmon's own words.

typer checks values with whatever is installed beside it (pydantic, or click alone), so the same mistake has
several texts, and none of them is for an administrator.
"""

import re
from typing import Any

from labmon.text import near

_WORDS = (
    (r".*valid (integer|int)\b.*", "expected a whole number"),
    (r".*valid (number|float)\b.*", "expected a number"),
    (r".*valid (boolean|bool)\b.*", "expected true or false"),
    (r".*(?:greater than or equal to|not in the range x>=) ?(-?[\d.]+).*", r"expected at least \1"),
    (r".*(?:less than or equal to|not in the range x<=) ?(-?[\d.]+).*", r"expected at most \1"),
    (r".*not in the range (-?[\d.]+)<=x<=(-?[\d.]+).*", r"expected \1 to \2"),
    (r".*does not match the formats?\b.*", "expected a day, such as 2026-03-01"),
    (r"(?:Value error, )?(.*) is not one of (.*)", r"\1 is not one of its values, \2"),
)


def in_words(error: Any) -> str:
    """One line about a mistake that the parser found, with the next step.

    `Any`: typer carries its own copy of click's classes.
    """
    ctx = getattr(error, "ctx", None)
    where = ctx.command_path if ctx else "labmon"
    said = _said(error, ctx)
    return f"{where}: {said}{'' if said.endswith('?') else '.'} See: {where} --help"


def _said(error: Any, ctx: Any) -> str:
    text = " ".join(error.format_message().split()).rstrip(".")
    param = getattr(error, "param", None)
    if type(error).__name__ == "MissingParameter" and param is not None:
        return _missing(param, ctx)
    if type(error).__name__ == "NoSuchOption":
        known = [name for one in ctx.command.get_params(ctx) for name in one.opts] if ctx else []
        return f"there is no option {error.option_name}{near(error.option_name, known)}"
    if found := re.match(r"No such command '(.*?)'", text):
        known = [*getattr(ctx.command, "commands", {})] if ctx else []
        return f"there is no command {found[1]!r}{near(found[1], known)}"
    if param is not None and text.startswith("Invalid value"):
        return f"{_name(param)}: {_plain(str(error.message))}"
    return text[:1].lower() + text[1:]


def _missing(param: Any, ctx: Any) -> str:
    """What is missing, what it is for, and a command that has it."""
    about = (param.help or "").split(". ")[0].rstrip(".")
    lines = (ctx.command.help or "").splitlines() if ctx else []
    example = next((line.strip() for line in lines if line.strip().startswith("labmon ")), "")
    return (
        f"{_name(param)} is missing{f' ({about[:1].lower()}{about[1:]})' if about else ''}"
        f"{f'. Such as: {example}' if example else ''}"
    )


def _name(param: Any) -> str:
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    return f"{max(param.opts, key=len)} {param.metavar}" if param.metavar else str(max(param.opts, key=len))


def _plain(text: str) -> str:
    text = text.rstrip(".")
    if found := re.fullmatch(r"(?:Value error, )?'(.*)' is not one of (.*)", text):
        values = re.findall(r"'(.*?)'", found[2])
        return f"{found[1]!r} is not one of its values, {', '.join(values)}{near(found[1], values)}"
    for pattern, words in _WORDS:
        if re.fullmatch(pattern, text):
            return re.sub(pattern, words, text)
    return text.removeprefix("Value error, ")
