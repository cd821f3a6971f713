"""Values compared with the type and the bounds of their key, and every fault in plain words."""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from labmon.config.keys import Key
from labmon.config.tables.fields import HighPriority, QueueName, RootPath, WholePath
from labmon.config.units import decode
from labmon.text import is_utf8, nearest, read_toml

_PATTERNS = {
    meta.pattern: meta.title
    for kind in (HighPriority, QueueName, RootPath, WholePath)
    for meta in get_args(kind)
    if isinstance(meta, Meta)
}


def check(key: Key, value: Any, *, as_text: bool) -> tuple[Any, list[str]]:
    """The value as the key's type, and what is wrong with it.

    What is wrong has the default instead, and of a list what is right is left: other faults may be in it.
    `as_text`: from the environment or the command line, where "5" may mean 5 and a list has commas.
    """
    where = f"[{key.table}] {key.name}"
    kind = _bare(key.type)
    if get_origin(kind) is list and as_text and isinstance(value, str):
        value = _listed(value)
    if _holds_tables(kind):
        return _tables(get_args(kind)[0], value, f"[[{key.path}]]", strict=not as_text)
    checked, reasons = _converted(key.type, value, strict=not as_text, secret=key.secret)
    if reasons:
        checked = (
            [one for one in checked or () if one is not None] if isinstance(checked, list) else key.default
        )
    if not reasons and key.least is not None and checked < key.least:
        reasons = [f"expected at least {type(checked)(key.least)}"]
    return checked, [f"{where}: {reason}" for reason in reasons]


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _holds_tables(kind: Any) -> bool:
    return get_origin(kind) is list and isinstance(get_args(kind)[0], type(msgspec.Struct))


def _converted(kind: Any, value: Any, *, strict: bool, secret: bool) -> tuple[Any, list[str]]:
    bare = _bare(kind)
    if isinstance(value, str) and not is_utf8(value):
        return None, ["is not UTF-8"]
    if get_origin(bare) is list and isinstance(value, list):
        pairs = [_converted(get_args(bare)[0], item, strict=strict, secret=secret) for item in value]
        return [item for item, _ in pairs], [reason for _, reasons in pairs for reason in reasons]
    options = get_args(bare) if get_origin(bare) is Literal else ()
    if options and isinstance(value, str) and value not in options:
        return None, [f"{value!r} is not one of its values{nearest(value, options)}"]
    try:
        return msgspec.convert(value, kind, strict=strict, dec_hook=decode), []
    except msgspec.ValidationError as error:
        return None, [in_words(str(error)) + ("" if secret else f", not {_quoted(value)}")]


def _tables(
    struct: type[msgspec.Struct], value: Any, where: str, *, strict: bool
) -> tuple[list[Any], list[str]]:
    """A list of tables, each fault with the name of its table."""
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        return [], [f"{where}: expected a list of tables"]
    made, faults = [], []
    hints = get_type_hints(struct, include_extras=True)
    for number, item in enumerate(value, 1):
        named = (
            f"{where} {item['name']!r}" if isinstance(item.get("name"), str) else f"{where} number {number}"
        )
        values, wrong = {}, []
        wrong += [f"unknown key {name}{nearest(name, hints)}" for name in item if name not in hints]
        for info in msgspec.structs.fields(struct):
            if info.name in item:
                secret = info.name in ("url", "secret")
                values[info.name], reasons = _converted(
                    hints[info.name], item[info.name], strict=strict, secret=secret
                )
                wrong += [f"{info.name}: {reason}" for reason in reasons]
            elif info.required:
                wrong.append(f"missing key {info.name}")
        faults += [f"{named}: {text}" for text in wrong]
        if all(values.get(info.name) is not None for info in msgspec.structs.fields(struct) if info.required):
            made.append(struct(**{name: value for name, value in values.items() if value is not None}))
    return made, faults


def _listed(text: str) -> Any:
    """A list as the environment gives it: with commas, or as the file has it: [...]."""
    with suppress(ValueError):
        if text.lstrip().startswith("["):
            return read_toml(f"x = {text}")["x"]
    return [part.strip() for part in text.split(",") if part.strip()]


def _quoted(value: Any) -> str:
    text = repr(value) if isinstance(value, str | int | float | list) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "array": "a list",
}


def in_words(error: str) -> str:
    """msgspec's message, without the names of Python's types."""
    reason = error.replace("Expected", "expected").replace("`", "").split(" - at")[0].split(", got")[0]
    for pattern, title in _PATTERNS.items():
        reason = reason.replace(f"str matching regex {pattern!r}", str(title))
    for kind, words in _WORDS.items():
        reason = re.sub(rf"\b{kind}\b", words, reason)
    return reason
