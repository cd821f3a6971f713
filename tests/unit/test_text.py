"""Foreign text at the exits."""

import pytest

from labmon.text import NotText, csv_cell, decode, foreign, is_name, near, read_text, read_toml


# findings B5
@pytest.mark.parametrize(
    "text, shown",
    [
        ("lab-pc01", "lab-pc01"),
        ("größe 東京", "größe 東京"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("a\nlabmon: forged", r"a\nlabmon: forged"),
        ("a\r\tb", r"a\r\tb"),
        ("\x9b31m", r"\x9b31m"),
        ("\x7f\x00", r"\x7f\x00"),
        ("a\u2028b\u2029c\x85", r"a\u2028b\u2029c\x85"),
        ("\u202egpj.exe\u2066\u200f\u061c", r"\u202egpj.exe\u2066\u200f\u061c"),
        ("pc\udcff", r"pc\udcff"),
        ("\U000e0041", r"\U000e0041"),
        ("no\u00a0break", "no\u00a0break"),
    ],
)
def test_what_acts_on_a_terminal_or_a_log_is_escaped(text, shown):
    assert foreign(text) == shown


def test_only_newlines_and_tabs_stay_in_a_text_of_several_lines():
    assert foreign("a\n\tb\x1b\r\n", lines=True) == "a\n\tb\\x1b\\r\n"


# findings B5
@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "  =1",
        " \t@x",
        "\uff1d1",
        " \uff0b1",
        "\uff0d1",
        "\uff20x",
        '=HYPERLINK("http://x")',
    ],
)
def test_a_cell_that_a_spreadsheet_would_compute_gets_an_apostrophe(text):
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "pc-1", "a=b", "10.30.5.1"])
def test_other_cells_stay_as_they_are(text):
    assert csv_cell(text) == text


# findings C10, E7
def test_a_file_is_read_with_or_without_a_byte_order_mark_and_its_line_ends_stay(tmp_path):
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbfa\rb\r\nc\n")
    assert read_text(tmp_path / "file") == "a\rb\r\nc\n"


# findings C10
@pytest.mark.parametrize("document", ["x=" + "[" * 5000, "x = " + "9" * 6000, "x = {a=" * 3000, "x = \r1"])
def test_toml_of_others_is_refused_in_one_way(document):
    with pytest.raises(ValueError) as caught:
        read_toml(document)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "  ", "a" * 101, "a\nb", "\x1b[31m", "a\u202eb"])
def test_what_lists_cannot_show_is_no_name(text):
    assert not is_name(text)
    assert is_name("Physik und Ch\u00e9mie (2)")


@pytest.mark.parametrize(
    "data, said",
    [
        ("käse".encode("utf-16"), "UTF-16, not UTF-8: save it as UTF-8"),
        (b"10.0.0.1\n\xff", "not UTF-8 at byte 9"),
        (b"\x7fELF\0\0", "byte 4 is zero"),
    ],
)
def test_a_file_that_is_no_text_is_said_to_be_what_it_is(data, said):
    with pytest.raises(NotText) as caught:
        decode(data)
    assert str(caught.value) == said


def test_a_byte_order_mark_of_utf_8_is_no_part_of_the_text():
    assert decode(b"\xef\xbb\xbfa\r\n") == "a\r\n"


@pytest.mark.parametrize(
    "word, known, meant",
    [
        ("dedline", ["deadline", "user"], "deadline"),
        ("lst", ["list", "set"], "list"),
        ("stat", ["statistics", "user"], "statistics"),
        ("foo", ["offline", "port"], ""),
        ("--dep", ["--help", "--dept"], "--dept"),
        ("77", ["1", "2"], ""),
    ],
)
def test_only_a_name_that_is_similar_is_meant(word, known, meant):
    assert near(word, known) == (f". Did you mean {meant}?" if meant else "")
