"""Text that labmon did not write itself: names, errors of servers, bodies of others' messages, files."""

import difflib
import tomllib
import unicodedata
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

FORMULA_STARTS = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\N{FULLWIDTH EQUALS SIGN}",
    "\N{FULLWIDTH PLUS SIGN}",
    "\N{FULLWIDTH HYPHEN-MINUS}",
    "\N{FULLWIDTH COMMERCIAL AT}",
    "\N{MINUS SIGN}",
)
"""What makes a spreadsheet take a cell of a CSV file as a formula."""


def foreign(text: str, *, lines: bool = False) -> str:
    """Foreign text for a terminal, a log or an error line: what would act there is escaped as in Python.

    Escaped are control characters (newlines, C0, C1, DEL), line and paragraph separators, marks that change
    the direction of writing or show nothing, lone surrogates and unassigned characters. With `lines`,
    newlines and tabs stay: for output that is meant to have several lines.
    """
    if text.isprintable():
        return text
    return "".join(c if _is_harmless(c) or (lines and c in "\n\t") else _escaped(c) for c in text)


def _is_harmless(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"  # spaces of other scripts


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def csv_cell(text: str) -> str:
    """Text for a CSV file that somebody may open in a spreadsheet: a formula gets an apostrophe in front.

    So recommended by OWASP ("CSV Injection"); spreadsheets show the cell without the apostrophe.
    Some skip spaces in front, and Asian versions read full-width forms as the plain ones.
    """
    return f"'{text}" if text.startswith(FORMULA_STARTS) or text.lstrip().startswith(FORMULA_STARTS) else text


def finalized(value: Any) -> Any:
    """What a template shows of a value: text as `foreign` has it, markup as it is."""
    return foreign(value, lines=True) if type(value) is str else value


MOST_NAMED = 30
"""Names in an error."""


def near(word: str, known: Iterable[str]) -> str:
    """The end of an error about a name that is not known: the nearest one; empty if none is similar.

    Similar: most of the letters in the same order, or the beginning of one name only.
    """
    known = list(known)
    begun = [one for one in known if len(word) > 2 and one.startswith(word)]
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.65) or (begun if len(begun) == 1 else [])
    return f". Did you mean {foreign(found[0])}?" if found else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """The same, or all names where none is similar."""
    known = list(known)
    if found := near(word, known):
        return found
    more = ", ..." if len(known) > MOST_NAMED else ""
    return f". Known: {foreign(', '.join(known[:MOST_NAMED]))}{more}" if known else ""


class NotText(ValueError):
    """These bytes are no text in UTF-8. Its own text says what they are, as the end of an error line."""


def decode(data: bytes) -> str:
    """A file's bytes as text: UTF-8, with or without the byte order mark of Notepad. Raises NotText."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise NotText("UTF-16, not UTF-8: save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotText(f"not UTF-8 at byte {error.start}") from None
    if "\0" in text:
        raise NotText(f"byte {data.index(0)} is zero")
    return text


def read_text(path: Path) -> str:
    """A file's text, its line ends as they are. Raises OSError and NotText.

    `Path.read_text` turns a bare carriage return into a newline, which TOML forbids.
    """
    return decode(path.read_bytes())


MAX_NAME = 100
"""Characters of a name that an administrator gives."""


def is_name(text: str) -> bool:
    """True for text that lists can show as a name: not empty, not long, nothing that acts on a terminal, nor
    in a spreadsheet."""
    text = text.strip()
    return bool(text) and len(text) <= MAX_NAME and text.isprintable() and not text.startswith(FORMULA_STARTS)


def is_utf8(text: str) -> bool:
    """False for text with lone surrogates, as of an argument that was no UTF-8: no server takes it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_address(text: str) -> bool:
    """True for an IP address, false for a name."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def read_toml(text: str) -> dict[str, Any]:
    """A document of TOML. Raises ValueError, with one line that says why not, and nothing else.

    tomllib raises RecursionError for what is nested a thousand deep, and the ValueError of int() for a
    number of thousands of digits.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
