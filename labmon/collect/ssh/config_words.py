"""A line of an ssh_config cut into its keyword and words, by the same rules as OpenSSH's own reader.

There are two rules, and one line may need both. The keyword, and the criteria of `Match`, end at white space
or at one `=`, and only double quotes count. The arguments of other keywords end at blanks and tabs, may be
quoted either way, and know a few escapes (OpenSSH's readconf.c and misc.c: strdelim, argv_split).
"""

import re

_SPACE = " \t\r\n"
_END = re.compile(r'[ \t\r\n"=]')
_ESCAPED = "'\"\\"


class UnclosedQuote(ValueError):
    """A quote in the line does not end."""


def next_word(text: str) -> tuple[str, str]:
    """The first word, up to white space or `=`, and the rest. Raises UnclosedQuote.

    Double quotes may stand around a part of the word, and end it; no escapes. As in OpenSSH, white space at
    the beginning makes an empty word.
    """
    found = _END.search(text)
    if found is None:
        return text, ""
    end = found.start()
    if text[end] == '"':
        close = text.find('"', end + 1)
        if close < 0:
            raise UnclosedQuote
        return text[:end] + text[end + 1 : close], text[close + 1 :].lstrip(_SPACE)
    rest = text[end + 1 :].lstrip(_SPACE)
    if text[end] != "=" and rest.startswith("="):  # one of these may stand between two words
        rest = rest[1:].lstrip(_SPACE)
    return text[:end], rest


def keyword_and_rest(line: str) -> tuple[str, str]:
    """The keyword as it is written, "" for an empty line or a comment, and all that follows it."""
    line = line.split("\0", 1)[0].rstrip(_SPACE + "\f")  # a form feed may end a line, and only that
    try:
        word, rest = next_word(line)
        if not word:
            word, rest = next_word(rest)
    except UnclosedQuote:
        return "", ""
    return ("", "") if word.startswith("#") else (word, rest.lstrip(_SPACE))


def arguments(text: str) -> list[str]:
    """The words of what follows a keyword, up to a comment. Raises UnclosedQuote."""
    words: list[str] = []
    place = 0
    while place < len(text):
        if text[place] in " \t":
            place += 1
        elif text[place] == "#":
            break
        else:
            word, place = _argument(text, place)
            words.append(word)
    return words


def _argument(text: str, place: int) -> tuple[str, int]:
    """The word that begins at this place, and the place behind it."""
    word: list[str] = []
    quote = ""
    while place < len(text):
        sign = text[place]
        following = text[place + 1 : place + 2]
        if sign == "\\" and following and (following in _ESCAPED or (following == " " and not quote)):
            word.append(following)
            place += 1
        elif not quote and sign in " \t":
            break
        elif not quote and sign in "'\"":
            quote = sign
        elif sign == quote:
            quote = ""
        else:
            word.append(sign)
        place += 1
    if quote:
        raise UnclosedQuote
    return "".join(word), place
