import io

import pytest

from labmon.colour import GREEN, RED, YELLOW, code_of, coloured, painted


@pytest.mark.parametrize(
    "word, code",
    [
        ("active", GREEN),
        ("auth failed", RED),
        ("dead for 3 min", RED),
        ("firing, muted", YELLOW),
        ("CRITICAL", RED),
        ("pc-17", ""),
        ("", ""),
    ],
)
def test_words_of_statuses_and_severities_have_colours(word, code):
    assert code_of(word) == code


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_colours_are_for_terminals_and_for_those_who_want_them(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert coloured(Terminal())
    assert not coloured(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not coloured(Terminal())


def test_what_has_no_colour_stays_as_it_is():
    assert painted("x", "") == "x"
    assert painted("x", RED) == "\x1b[31mx\x1b[0m"
