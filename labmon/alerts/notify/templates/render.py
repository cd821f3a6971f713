"""A template with its values: the parts that a notification is made of."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import (
    BaseLoader,
    Environment,
    StrictUndefined,
    TemplateError,
    TemplateNotFound,
    TemplateSyntaxError,
    nodes,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

from labmon.alerts.notify.templates.parts import BUILT_IN, Rendered, TemplateFault
from labmon.text import finalized

MAX_CHARACTERS = 200_000
"""Of one part of a notification."""


@cache
def built_in_source() -> str:
    """The text of the built-in template."""
    return (files("labmon.alerts.notify.templates") / f"{BUILT_IN}.j2").read_text(encoding="utf-8")


class _Loader(BaseLoader):
    """Knows the built-in template and the one that is rendered; no file."""

    def __init__(self, source: str | None) -> None:
        self._sources = {BUILT_IN: built_in_source()} | ({} if source is None else {"own": source})

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, None]:
        if template not in self._sources:
            raise TemplateNotFound(template, f'there is no template "{template}", only "{BUILT_IN}"')
        return self._sources[template], f"<{template}>", None


def _environment(source: str | None, *, html: bool) -> Environment:
    return ImmutableSandboxedEnvironment(
        loader=_Loader(source),
        autoescape=html,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalized,
        undefined=StrictUndefined,  # a name that is misspelt is found by `labmon alerts template check`
        cache_size=4,
    )


@cache
def _built_in_environment(html: bool) -> Environment:
    return _environment(None, html=html)


def render(values: Mapping[str, Any], source: str | None = None) -> Rendered:
    """Title, text and html; of the built-in template without `source`.

    A template that extends no other is the text alone: the title is the built-in one, and there is no html.
    Raises TemplateFault, with the line. Bounds neither time nor memory: see `process`.
    """
    if source is None:
        parts = {part: _part(_built_in_environment(part == "html"), BUILT_IN, part, values) for part in PARTS}
        return Rendered(**parts)
    try:
        plain, html = _environment(source, html=False), _environment(source, html=True)
        extends = plain.parse(source).find(nodes.Extends) is not None
        title = _part(plain if extends else _built_in_environment(False), _name(extends), "title", values)
        return Rendered(
            title,
            _part(plain, "own", "text", values),
            _part(html, "own", "html", values) if extends else None,
        )
    except (TemplateFault, MemoryError):
        raise
    except Exception as error:
        raise _fault(error) from error


PARTS = ("title", "text", "html")


def _name(extends: bool) -> str:
    return "own" if extends else BUILT_IN


def _part(environment: Environment, name: str, part: str, values: Mapping[str, Any]) -> str:
    made = []
    size = 0
    for piece in environment.get_template(name).generate({**values, "part": part}):
        size += len(piece)
        if size > MAX_CHARACTERS:
            raise TemplateFault(f"its {part} is longer than {MAX_CHARACTERS} characters")
        made.append(piece)
    text = "".join(made).strip("\n")
    return _one_line(text) if part == "title" else text


def _fault(error: Exception) -> TemplateFault:
    """What is wrong, and in which line of the file."""
    line = error.lineno if isinstance(error, TemplateSyntaxError) else _line(error)
    text = error.message if isinstance(error, TemplateError) and error.message else str(error)
    text = text.replace("'dict object' has no attribute", "there is no")
    name = "" if isinstance(error, TemplateError) else f"{type(error).__name__}: "
    return TemplateFault(_one_line(f"{name}{text}") or type(error).__name__, line)


def _line(error: BaseException) -> int | None:
    """The line of the template in which it was raised: Jinja rewrites the traceback to say so."""
    found, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<own>":
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def _one_line(text: str) -> str:
    return " ".join(text.split())
